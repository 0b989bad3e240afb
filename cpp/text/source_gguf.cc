#include "text/source_gguf.h"

#include <unordered_map>

#include "base/error.h"
#include "base/gguf_metadata.h"
#include "base/utf8.h"
#include "text/json_writer.h"
#include "text/scored_pieces.h"
#include "text/source_bert.h"
#include "text/source_patterns.h"

namespace headrace {
namespace {

class GgufVocabulary {
 public:
  explicit GgufVocabulary(const GgufMetadata& file) : file_(file) {
    auto tokens = file.find_strings("tokenizer.ggml.tokens");
    if (!tokens) fail("tokenizer.ggml.tokens is missing");
    tokens_ = std::move(*tokens);
    if (tokens_.size() > (size_t{1} << 24)) fail("more than 16777216 tokens");
    for (const std::string_view token : tokens_)
      if (utf8_first_invalid(token) != token.size()) fail("a token is not UTF-8");
    types_.assign(tokens_.size(), ScoredPiece::kNormal);
    if (const auto types = file.find_ints("tokenizer.ggml.token_type")) {
      if (types->size() != tokens_.size()) fail("there are not as many token types as tokens");
      for (size_t i = 0; i < types->size(); ++i) types_[i] = read_type((*types)[i]);
    }
  }

  std::string byte_level_bpe() const {
    TokenizerJson json;
    const std::string_view pre = file_.find_string("tokenizer.ggml.pre").value_or("default");
    json.pre_tokenizer = pre_tokenizer(pre);
    json.decoder = kByteLevelDecoder;
    json.added_tokens = added_tokens();
    const bool is_llama = pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3";
    json.post_processor = post_processor(is_llama);
    std::string vocab;
    JsonList vocab_list(vocab);
    for (size_t i = 0; i < tokens_.size(); ++i) vocab_list.next() += concat(json_string(tokens_[i]), ":", i);
    std::string merges;
    JsonList merge_list(merges);
    const auto pairs = file_.find_strings("tokenizer.ggml.merges");
    if (!pairs) fail("tokenizer.ggml.merges is missing");
    for (const std::string_view merge : *pairs) {
      // Not at the first byte: a token may begin with a space only if it is one.
      const size_t space = merge.find(' ', 1);
      if (space == std::string_view::npos || utf8_first_invalid(merge) != merge.size())
        fail("tokenizer.ggml.merges holds what is no pair of tokens");
      merge_list.next() +=
          concat("[", json_string(merge.substr(0, space)), ",", json_string(merge.substr(space + 1)), "]");
    }
    json.model = concat(
        "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
        "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":",
        is_llama ? "true" : "false", ",\"vocab\":{", vocab, "},\"merges\":[", merges, "]}");
    return json.text();
  }

  std::string sentencepiece() const {
    const auto scores = file_.find_floats("tokenizer.ggml.scores");
    if (!scores || scores->size() != tokens_.size()) fail("there are not as many scores as tokens");
    std::vector<ScoredPiece> pieces;
    for (size_t i = 0; i < tokens_.size(); ++i) pieces.push_back({tokens_[i], (*scores)[i], types_[i]});
    SpaceRules spaces;
    spaces.add_prefix = file_.find_bool("tokenizer.ggml.add_space_prefix").value_or(true);
    spaces.remove_extra = file_.find_bool("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
    return tokenizer_json_from_pieces(pieces, spaces, post_processor(true), file_.name());
  }

  // Tokens that begin a word bear U+2581 here, and those that continue one bear nothing.
  std::string wordpiece() const {
    constexpr std::string_view kSpace = "\xE2\x96\x81";
    std::string lines;
    for (const std::string_view token : tokens_) {
      if (token.find('\n') != std::string_view::npos) fail("a token holds a line feed");
      if (token.starts_with('[') && token.ends_with(']')) {
        lines += token;
      } else if (token.starts_with(kSpace)) {
        lines += token.substr(kSpace.size());
      } else {
        lines += concat("##", token);
      }
      lines += '\n';
    }
    return tokenizer_json_from_vocab_txt(lines, {}, file_.name());
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Error(ErrorKind::kCorruptFile, concat(file_.name(), ": ", what));
  }

  ScoredPiece::Type read_type(int32_t type) const {
    if (type < ScoredPiece::kNormal || type > ScoredPiece::kByte) fail("a token of unknown type");
    return static_cast<ScoredPiece::Type>(type);
  }

  std::string added_tokens() const {
    std::string added;
    JsonList list(added);
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const bool is_special = types_[i] == ScoredPiece::kControl || types_[i] == ScoredPiece::kUnknown;
      if (is_special || types_[i] == ScoredPiece::kUserDefined)
        list.next() += json_added_token(static_cast<int32_t>(i), tokens_[i], is_special);
    }
    return added;
  }

  // adds_bos: what holds where the file does not say.
  std::string post_processor(bool adds_bos) const {
    std::vector<NamedToken> before;
    std::vector<NamedToken> behind;
    if (file_.find_bool("tokenizer.ggml.add_bos_token").value_or(adds_bos))
      add_token("tokenizer.ggml.bos_token_id", before);
    if (file_.find_bool("tokenizer.ggml.add_eos_token").value_or(false))
      add_token("tokenizer.ggml.eos_token_id", behind);
    return before.empty() && behind.empty() ? "null" : json_template(before, behind);
  }

  void add_token(const char* key, std::vector<NamedToken>& tokens) const {
    const auto id = file_.find_int(key);
    if (!id) return;
    if (*id < 0 || *id >= static_cast<int64_t>(tokens_.size())) fail("bos or eos is no token");
    tokens.push_back({tokens_[static_cast<size_t>(*id)], static_cast<int32_t>(*id)});
  }

  std::string pre_tokenizer(std::string_view pre) const {
    static const std::unordered_map<std::string_view, std::string_view> kSplits = {
        {"gpt-2", "gpt2"},
        {"default", "llama_default"},
        {"llama-bpe", "cl100k"},
        {"llama3", "cl100k"},
        {"llama-v3", "cl100k"},
        {"qwen2", "qwen2"},
        {"deepseek-r1-qwen", "qwen2"},
        {"smollm", "smollm"},
        {"deepseek-v3", "deepseek_v3"},
        {"gpt-4o", "o200k"},
    };
    const auto split = kSplits.find(pre);
    if (split == kSplits.end())
      throw Error(ErrorKind::kUnsupported,
                  concat(file_.name(), ": tokenizer.ggml.pre '", pre,
                         "' is not supported; supported: default, gpt-2, llama-bpe, qwen2, deepseek-r1-qwen, "
                         "smollm, deepseek-v3, gpt-4o"));
    return byte_level_pre_tokenizer(split->second);
  }

  const GgufMetadata& file_;
  std::vector<std::string_view> tokens_;
  std::vector<ScoredPiece::Type> types_;
};

}  // namespace

std::string tokenizer_json_from_gguf(std::string_view bytes, const std::string& name) {
  const GgufMetadata file(bytes, "tokenizer.", name);
  const auto model = file.find_string("tokenizer.ggml.model");
  if (!model) throw Error(ErrorKind::kCorruptFile, concat(name, ": tokenizer.ggml.model is missing"));
  if (*model != "gpt2" && *model != "llama" && *model != "bert")
    throw Error(ErrorKind::kUnsupported, concat(name, ": tokenizer.ggml.model '", *model,
                                                "' is not supported; supported: gpt2, llama, bert"));
  const GgufVocabulary vocabulary(file);
  if (*model == "gpt2") return vocabulary.byte_level_bpe();
  if (*model == "llama") return vocabulary.sentencepiece();
  return vocabulary.wordpiece();
}

}  // namespace headrace
