// One encoded text, or two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace headrace {

struct Encoding {
  // The string of a token that is not the vocabulary's: an added token found together with white space or in
  // other letters than its own, or the text that an unknown token stands for.
  struct Spelling {
    int32_t index;
    std::string text;
  };

  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;
  std::vector<int32_t> sequence_ids;                 // 0 or 1: the text a token is from; -1: the template
  std::vector<std::pair<int32_t, int32_t>> offsets;  // [begin, end) in characters (code points) of its text
  std::vector<uint8_t> special_mask;                 // 1: put there by the template
  std::vector<Spelling> spellings;                   // by index; every other token is Tokenizer::token(id)
  int64_t num_tokens = 0;                            // before truncation
  std::vector<uint8_t> attention_mask;               // 0: padding; empty when nothing was padded
  std::vector<Encoding> overflowing;                 // what truncation cut off, in parts of the same length
};

// Tokens [begin, end) of an encoding, without what overflows from it.
Encoding part_of(const Encoding& whole, size_t begin, size_t end);

// Appends other's tokens. Each part that overflows from either is joined with the other encoding and, if both
// have some, with each of its parts, in the reference's order; so parts may have parts.
void append(Encoding& encoding, const Encoding& other);

}  // namespace headrace
