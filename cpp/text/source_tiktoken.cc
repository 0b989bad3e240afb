#include "text/source_tiktoken.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/utf8.h"
#include "text/base64.h"
#include "text/byte_spelling.h"
#include "text/json_writer.h"
#include "text/source_patterns.h"
#include "text/vocabulary.h"

namespace headrace {
namespace {

constexpr size_t kMaxTokenBytes = 512;

class RankFile {
 public:
  RankFile(std::string_view text, const std::string& name) : name_(name) {
    for (size_t line = 1; !text.empty(); ++line) {
      const size_t end = std::min(text.find('\n'), text.size());
      std::string_view each = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (each.ends_with('\r')) each.remove_suffix(1);
      if (!each.empty()) read_line(each, line);
    }
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      if (tokens_.find({&c, 1}) < 0)
        throw Error(ErrorKind::kCorruptFile, concat(name_, ": the byte ", byte, " is no token"));
    }
  }

  const Vocabulary& tokens() const { return tokens_; }

  // Encodes a token by those of lower ranks: where its parts begin, and its size.
  std::vector<size_t> parts(std::string_view token, int32_t rank) const {
    std::vector<size_t> bounds(token.size() + 1);
    for (size_t i = 0; i < bounds.size(); ++i) bounds[i] = i;
    // By part: the rank of it and the next together.
    std::vector<int32_t> ranks;
    const auto pair_rank = [&](size_t i) {
      if (i + 2 >= bounds.size()) return rank;
      const int32_t found = tokens_.find(token.substr(bounds[i], bounds[i + 2] - bounds[i]));
      return found < 0 ? rank : std::min(found, rank);
    };
    for (size_t i = 0; i + 1 < bounds.size(); ++i) ranks.push_back(pair_rank(i));
    while (bounds.size() > 3) {
      const auto best = std::min_element(ranks.begin(), ranks.end());
      if (*best >= rank) break;
      const auto at = static_cast<size_t>(best - ranks.begin());
      bounds.erase(bounds.begin() + static_cast<ptrdiff_t>(at) + 1);
      ranks.erase(ranks.begin() + static_cast<ptrdiff_t>(at) + 1);
      ranks[at] = pair_rank(at);
      if (at > 0) ranks[at - 1] = pair_rank(at - 1);
    }
    return bounds;
  }

 private:
  void read_line(std::string_view line, size_t number) {
    const auto fail = [&](const char* what) {
      throw Error(ErrorKind::kCorruptFile, concat(name_, ", line ", number, ": ", what));
    };
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) fail("must be a token in base64, a space and its rank");
    std::string token;
    if (!base64_decode(line.substr(0, space), token)) fail("the token is not base64");
    if (token.empty() || token.size() > kMaxTokenBytes) fail("the token must have 1 to 512 bytes");
    const std::string_view digits = line.substr(space + 1);
    int32_t rank = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
    // A hole in the ranks costs a row of the tables, so there may not be many more than lines.
    const auto limit = std::min<int64_t>(Vocabulary::kMaxId, static_cast<int64_t>(number) * 16 + 1024);
    if (error != std::errc() || end != digits.data() + digits.size() || rank < 0 || rank > limit)
      fail("the rank must be a whole number, close to the line's");
    if (!tokens_.add(token, rank)) fail("the token or the rank is there already");
  }

  const std::string& name_;
  Vocabulary tokens_;
};

std::string spelled(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) utf8_append(byte_spelling(static_cast<uint8_t>(c)), text);
  return text;
}

}  // namespace

TiktokenEncoding tiktoken_encoding(std::string_view name) {
  const std::string end_of_text = "<|endoftext|>";
  if (name == "gpt2" || name == "r50k_base" || name == "p50k_base")
    return {byte_level_pre_tokenizer("gpt2"), {{end_of_text, 50256}}};
  if (name == "p50k_edit")
    return {byte_level_pre_tokenizer("gpt2"),
            {{end_of_text, 50256},
             {"<|fim_prefix|>", 50281},
             {"<|fim_middle|>", 50282},
             {"<|fim_suffix|>", 50283}}};
  if (name == "cl100k_base")
    return {byte_level_pre_tokenizer("cl100k"),
            {{end_of_text, 100257},
             {"<|fim_prefix|>", 100258},
             {"<|fim_middle|>", 100259},
             {"<|fim_suffix|>", 100260},
             {"<|endofprompt|>", 100276}}};
  if (name == "o200k_base")
    return {byte_level_pre_tokenizer("o200k"), {{end_of_text, 199999}, {"<|endofprompt|>", 200018}}};
  if (name == "o200k_harmony") {
    TiktokenEncoding encoding{byte_level_pre_tokenizer("o200k"),
                              {{"<|startoftext|>", 199998},
                               {end_of_text, 199999},
                               {"<|return|>", 200002},
                               {"<|constrain|>", 200003},
                               {"<|channel|>", 200005},
                               {"<|start|>", 200006},
                               {"<|end|>", 200007},
                               {"<|message|>", 200008},
                               {"<|call|>", 200012},
                               {"<|endofprompt|>", 200018}}};
    std::vector<int32_t> reserved = {200000, 200001, 200004, 200009, 200010, 200011};
    for (int32_t id = 200013; id < 201088; ++id)
      if (id != 200018) reserved.push_back(id);
    for (const int32_t id : reserved)
      encoding.special_tokens.emplace_back(concat("<|reserved_", id, "|>"), id);
    return encoding;
  }
  throw Error(ErrorKind::kUnsupported, concat("tiktoken encoding '", name,
                                              "' is not known; known are gpt2, r50k_base, p50k_base, "
                                              "p50k_edit, cl100k_base, o200k_base, o200k_harmony"));
}

std::string tokenizer_json_from_tiktoken(std::string_view ranks, const TiktokenEncoding& encoding,
                                         const std::string& name) {
  const RankFile file(ranks, name);
  const Vocabulary& tokens = file.tokens();
  std::string vocab;
  std::string merges;
  JsonList vocab_list(vocab);
  JsonList merge_list(merges);
  for (int32_t rank = 0; rank < tokens.size(); ++rank) {
    const std::string_view token = tokens.token(rank);
    if (token.empty()) continue;
    vocab_list.next() += concat(json_string(spelled(token)), ":", rank);
    if (token.size() == 1) continue;
    const auto bounds = file.parts(token, rank);
    if (bounds.size() == 3)
      merge_list.next() += concat("[", json_string(spelled(token.substr(0, bounds[1]))), ",",
                                  json_string(spelled(token.substr(bounds[1]))), "]");
  }
  TokenizerJson json;
  JsonList added(json.added_tokens);
  for (const auto& [content, id] : encoding.special_tokens) {
    vocab_list.next() += concat(json_string(content), ":", id);
    added.next() += json_added_token(id, content, true);
  }
  json.pre_tokenizer = encoding.pre_tokenizer;
  json.decoder = kByteLevelDecoder;
  json.model = concat(
      "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
      "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":true,"
      "\"vocab\":{",
      vocab, "},\"merges\":[", merges, "]}");
  return json.text();
}

}  // namespace headrace
