// tokenizer.json -> Tokenizer.
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "text/subword_json.h"
#include "text/tokenizer_parts.h"

namespace headrace {
namespace {

[[noreturn]] void unsupported(const char* member, std::string_view type, const char* supported) {
  throw Error(ErrorKind::kUnsupported,
              concat(member, " '", type, "' is not supported; supported: ", supported,
                     "; use a model whose tokenizer.json has one of these"));
}

// A member that may be missing or null.
std::optional<JsonValue> find_value(JsonValue object, std::string_view key) {
  auto value = object.find(key);
  if (value && value->is_null()) return std::nullopt;
  return value;
}

BertNormalizer read_normalizer(std::optional<JsonValue> value) {
  BertNormalizer::Config config;
  if (value) {
    const std::string_view type = value->at("type").as_string();
    if (type != "BertNormalizer") unsupported("normalizer", type, "BertNormalizer, null");
    config.clean_text = value->at("clean_text").as_bool();
    config.handle_chinese_chars = value->at("handle_chinese_chars").as_bool();
    config.lowercase = value->at("lowercase").as_bool();
    const auto strip_accents = find_value(*value, "strip_accents");
    config.strip_accents = strip_accents ? strip_accents->as_bool() : config.lowercase;
  }
  return BertNormalizer(config);
}

bool read_pre_tokenizer(std::optional<JsonValue> value) {
  if (!value) return false;
  const std::string_view type = value->at("type").as_string();
  if (type != "BertPreTokenizer") unsupported("pre_tokenizer", type, "BertPreTokenizer, null");
  return true;
}

std::optional<WordPieceDecoder> read_decoder(std::optional<JsonValue> value) {
  if (!value) return std::nullopt;
  const std::string_view type = value->at("type").as_string();
  if (type != "WordPiece") unsupported("decoder", type, "WordPiece, null");
  return WordPieceDecoder{std::string(value->at("prefix").as_string()), value->at("cleanup").as_bool()};
}

WordPiece read_wordpiece(JsonValue model, const Vocabulary& vocabulary) {
  WordPiece::Config config;
  config.unk_token = model.at("unk_token").as_string();
  config.continuing_subword_prefix = model.at("continuing_subword_prefix").as_string();
  config.max_input_chars_per_word =
      model.at("max_input_chars_per_word").as_int(0, std::numeric_limits<int64_t>::max());
  return WordPiece(vocabulary, std::move(config));
}

AddedToken read_added_token(JsonValue value) {
  AddedToken token;
  token.content = value.at("content").as_string();
  token.single_word = value.at("single_word").as_bool();
  token.lstrip = value.at("lstrip").as_bool();
  token.rstrip = value.at("rstrip").as_bool();
  token.normalized = value.at("normalized").as_bool();
  token.special = value.at("special").as_bool();
  return token;
}

// As in the reference, a token that the model has keeps the model's id, and the others are numbered on from
// the size of the vocabulary in the order of the file; the ids in the file are not used.
std::vector<AddedToken> read_added_tokens(std::optional<JsonValue> value, Vocabulary& vocabulary) {
  std::vector<AddedToken> tokens;
  if (!value) return tokens;
  auto next_id = static_cast<int64_t>(vocabulary.num_tokens());
  std::unordered_map<std::string, size_t> index_of;
  for (JsonValue item : value->items()) {
    AddedToken token = read_added_token(item);
    if (token.content.empty()) continue;
    if (const auto known = vocabulary.id(token.content)) {
      token.id = *known;
    } else {
      if (next_id > Vocabulary::kMaxId) item.fail("added_tokens: more than 16777216 tokens");
      token.id = static_cast<int32_t>(next_id++);
      if (!vocabulary.add(token.content, token.id))
        item.fail(concat("added_tokens: '", token.content, "' would get the id ", token.id, " of '",
                         vocabulary.token(token.id), "'; the ids of model.vocab must be 0 to its size - 1"));
    }
    const auto [known, is_new] = index_of.try_emplace(token.content, tokens.size());
    if (is_new) {
      tokens.push_back(std::move(token));
    } else {
      tokens[known->second] = std::move(token);  // the last definition counts
    }
  }
  return tokens;
}

AddedTokens make_set(const std::vector<AddedToken>& tokens, bool normalized, const BertNormalizer& normalizer,
                     Vocabulary& vocabulary) {
  std::vector<AddedToken> chosen;
  std::vector<std::string> contents;
  for (const AddedToken& token : tokens) {
    if (token.normalized != normalized) continue;
    chosen.push_back(token);
    NormalizedText text;
    text.text = token.content;
    if (normalized) {
      text.clear();
      normalizer.append(token.content, false, 0, text);
      vocabulary.show_as(token.id, text.text);
    }
    contents.push_back(std::move(text.text));
  }
  return AddedTokens(std::move(chosen), contents);
}

std::string read_text_file(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error)
    throw Error(ErrorKind::kNotFound,
                concat(path, ": ", error.message(), "; give the path of a tokenizer.json"));
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size)))
    throw Error(ErrorKind::kNotFound, concat(path, ": cannot be read; give the path of a tokenizer.json"));
  return text;
}

}  // namespace

Tokenizer::Parts Tokenizer::read_parts(std::string_view json, std::string name) {
  const JsonDocument document(json, std::move(name));
  const JsonValue root = document.root();
  if (!root.is_object()) root.fail("a tokenizer.json is an object");
  if (const auto version = root.find("version"); version && version->as_string() != "1.0")
    unsupported("version", version->as_string(), "1.0");
  const JsonValue model_value = root.at("model");
  if (const std::string_view type = model_type(model_value); type != "WordPiece")
    unsupported("model", type, "WordPiece");

  Vocabulary vocabulary = read_vocabulary(model_value.at("vocab"));
  WordPiece model = read_wordpiece(model_value, vocabulary);
  BertNormalizer normalizer = read_normalizer(find_value(root, "normalizer"));
  const bool split_words = read_pre_tokenizer(find_value(root, "pre_tokenizer"));
  const auto added = read_added_tokens(find_value(root, "added_tokens"), vocabulary);
  auto post_processor = find_value(root, "post_processor");
  TokenTemplate token_template =
      post_processor ? read_template(*post_processor, vocabulary) : TokenTemplate();
  auto decoder = read_decoder(find_value(root, "decoder"));

  std::vector<bool> is_special(static_cast<size_t>(vocabulary.size()));
  for (const AddedToken& token : added) is_special[static_cast<size_t>(token.id)] = token.special;
  AddedTokens raw = make_set(added, false, normalizer, vocabulary);
  AddedTokens normalized = make_set(added, true, normalizer, vocabulary);
  return Parts{std::move(vocabulary), std::move(is_special),     std::move(raw),
               std::move(normalized), std::move(normalizer),     split_words,
               std::move(model),      std::move(token_template), std::move(decoder)};
}

std::unique_ptr<Tokenizer> Tokenizer::from_json(std::string_view json, std::string name) {
  return std::unique_ptr<Tokenizer>(new Tokenizer(read_parts(json, std::move(name))));
}

std::unique_ptr<Tokenizer> Tokenizer::from_file(const std::string& path) {
  const std::string json = read_text_file(path);
  return from_json(json, path);
}

}  // namespace headrace
