// tokenizer.json -> Tokenizer.
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "text/bert_pipeline.h"
#include "text/decoder_json.h"
#include "text/normalizer_json.h"
#include "text/post_processor_json.h"
#include "text/pre_tokenizer_json.h"
#include "text/staged_pipeline.h"
#include "text/subword_json.h"
#include "text/tokenizer_parts.h"
#include "text/wordpiece_model.h"

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

// Spells the contents of the normalized tokens as the normalizer would.
using Spell = std::function<std::string(const std::string&)>;

AddedTokens make_set(const std::vector<AddedToken>& tokens, bool normalized, const Spell& spell,
                     Vocabulary& vocabulary) {
  std::vector<AddedToken> chosen;
  std::vector<std::string> contents;
  for (const AddedToken& token : tokens) {
    if (token.normalized != normalized) continue;
    chosen.push_back(token);
    contents.push_back(normalized ? spell(token.content) : token.content);
    if (normalized) vocabulary.show_as(token.id, contents.back());
  }
  return AddedTokens(std::move(chosen), contents);
}

// Whether one pass does it all: BERT's own normalizer, pre-tokenizer and model, where not left out.
bool is_bert(JsonValue root) {
  const auto is = [&](std::string_view member, std::string_view type) {
    const auto value = find_value(root, member);
    return !value || value->at("type").as_string() == type;
  };
  return model_type(root.at("model")) == "WordPiece" && is("normalizer", "BertNormalizer") &&
         is("pre_tokenizer", "BertPreTokenizer");
}

// What read_parts fills in while it goes; the vocabulary grows by the added tokens.
struct Reading {
  JsonValue root;
  std::unique_ptr<Vocabulary> vocabulary;
  std::vector<AddedToken> added;

  void take(Vocabulary&& read) {
    vocabulary = std::make_unique<Vocabulary>(std::move(read));
    added = read_added_tokens(find_value(root, "added_tokens"), *vocabulary);
  }
};

std::unique_ptr<const Pipeline> read_bert_pipeline(Reading& reading) {
  const JsonValue root = reading.root;
  ModelParts parts = read_model(root.at("model"), false);
  WordPiece words = std::move(static_cast<WordPieceModel&>(*parts.model)).release();
  const auto normalizer_value = find_value(root, "normalizer");
  BertNormalizer normalizer(normalizer_value ? read_bert_normalizer(*normalizer_value)
                                             : BertNormalizer::Config());
  reading.take(std::move(parts.vocabulary));
  const auto spell = [&](const std::string& content) {
    NormalizedText text;
    normalizer.append(content, false, 0, text);
    return text.text;
  };
  AddedTokens raw = make_set(reading.added, false, spell, *reading.vocabulary);
  AddedTokens normalized = make_set(reading.added, true, spell, *reading.vocabulary);
  return std::make_unique<BertPipeline>(std::move(raw), std::move(normalized), std::move(normalizer),
                                        find_value(root, "pre_tokenizer").has_value(), std::move(words),
                                        *reading.vocabulary);
}

std::unique_ptr<const Pipeline> read_staged_pipeline(Reading& reading) {
  const JsonValue root = reading.root;
  const JsonValue model = root.at("model");
  bool raw_bytes = false;
  auto pre_tokenizer =
      read_pre_tokenizer(find_value(root, "pre_tokenizer"), model_type(model) == "BPE", &raw_bytes);
  auto normalizer = read_normalizer(find_value(root, "normalizer"));
  ModelParts parts = read_model(model, raw_bytes);
  reading.take(std::move(parts.vocabulary));
  const auto spell = [&](const std::string& content) {
    AlignedText text;
    text.assign(content, false, 0);
    if (normalizer) normalizer->apply(text);
    return std::string(text.bytes());
  };
  AddedTokens raw = make_set(reading.added, false, spell, *reading.vocabulary);
  AddedTokens normalized = make_set(reading.added, true, spell, *reading.vocabulary);
  return std::make_unique<StagedPipeline>(std::move(raw), std::move(normalized), std::move(normalizer),
                                          std::move(pre_tokenizer), std::move(parts.model),
                                          *reading.vocabulary);
}

}  // namespace

Tokenizer::Parts Tokenizer::read_parts(std::string_view json, std::string name) {
  const JsonDocument document(json, std::move(name));
  const JsonValue root = document.root();
  if (!root.is_object()) root.fail("a tokenizer.json is an object");
  if (const auto version = root.find("version"); version && version->as_string() != "1.0")
    unsupported("version", version->as_string(), "1.0");

  Reading reading{root, nullptr, {}};
  Parts parts;
  parts.pipeline = is_bert(root) ? read_bert_pipeline(reading) : read_staged_pipeline(reading);
  parts.post_processor = read_post_processor(find_value(root, "post_processor"), *reading.vocabulary);
  parts.decoder = read_decoder(find_value(root, "decoder"));
  parts.is_special.resize(static_cast<size_t>(reading.vocabulary->size()));
  for (const AddedToken& token : reading.added)
    parts.is_special[static_cast<size_t>(token.id)] = token.special;
  parts.vocabulary = std::move(reading.vocabulary);
  return parts;
}

std::unique_ptr<Tokenizer> Tokenizer::from_json(std::string_view json, std::string name) {
  return std::unique_ptr<Tokenizer>(new Tokenizer(read_parts(json, std::move(name))));
}

}  // namespace headrace
