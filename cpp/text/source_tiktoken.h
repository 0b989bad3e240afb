// tiktoken's rank files -> tokenizer.json.
//
// A file has one token a line, in base64, and its rank, which is its id. Any two neighbours merge whose bytes
// together are a token, those of the lowest rank first. The reference merges pairs instead; one pair for each
// token is enough. Say a token t of rank r comes to be in some text: until then nothing has merged across its
// ends, so inside of them the same has happened as in encoding t alone with the tokens below r, which ends in
// two parts. So the merges are those two parts for each token, in the order of ranks. A token for which that
// ends in more parts never comes to be by merging, but only when a whole piece is that token, which
// ignore_merges says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headrace {

struct TiktokenEncoding {
  std::string pre_tokenizer;  // of a tokenizer.json
  std::vector<std::pair<std::string, int32_t>> special_tokens;
};

// "gpt2", "r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base", "o200k_harmony". Throws
// Error(kUnsupported) for others. tiktoken's second name for id 200018 of the last, <|reserved_200018|>, is
// left out: an id has one name here.
TiktokenEncoding tiktoken_encoding(std::string_view name);

// name: of the file, for messages. Throws Error(kCorruptFile) for malformed lines, repeated tokens or ranks,
// tokens of more than 512 bytes, and when one of the 256 bytes is no token.
std::string tokenizer_json_from_tiktoken(std::string_view ranks, const TiktokenEncoding& encoding,
                                         const std::string& name);

}  // namespace headrace
