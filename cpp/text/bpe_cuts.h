// Where a text may be cut before byte pair encoding without changing the result.
//
// A merge joins two neighbouring symbols, each the text that it covers. One that crosses the boundary between
// the characters l and r joins a symbol that ends with l and one that begins with r. So where no merge of the
// model has a left part ending with l and a right part beginning with r, nothing ever joins the two sides.
// And the sides do not meet otherwise: which merges apply to a side, and in which order (rank, then
// position), depends on that side's symbols alone; merges elsewhere only come in between. Hence encoding the
// sides one by one gives the same symbols.
//
// Two conditions make "the text that it covers" true: the left character is known to the model (unknown ones
// may be fused with their neighbours), and no merge has a byte token or the unknown token as a part.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/aligned_text.h"
#include "text/char_ids.h"

namespace headrace {

class BpeCuts {
 public:
  // After this, learn() the parts of every merge, then finish().
  void reserve(size_t num_merges);
  // left, right: UTF-8, not empty.
  void learn(std::string_view left, std::string_view right);
  // ids: of the characters that the model knows.
  void finish(const CharIds& ids);

  // Appends the parts of a piece of text, well-formed UTF-8, to parts.
  void cut(std::string_view text, Piece piece, const CharIds& ids, std::vector<Piece>& parts) const;

 private:
  enum Verdict : uint8_t { kNever, kAlways, kLook };

  static uint64_t hash(char32_t left, char32_t right) {
    return (uint64_t{left} << 32 | right) * 0x9E3779B97F4A7C15;
  }
  bool joined(char32_t left, char32_t right) const {
    const uint64_t bit = hash(left, right) >> shift_;
    return (joints_[bit / 64] >> (bit % 64) & 1) != 0;
  }

  // Pairs of characters, hashed to one bit each: two pairs that share a bit only cost a cut.
  std::vector<uint64_t> joints_;
  int shift_ = 0;
  // By the bytes left and right of a boundary.
  std::vector<uint8_t> verdicts_;
};

}  // namespace headrace
