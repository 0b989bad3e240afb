// Byte pair encoding of a short piece of raw bytes: the pair of neighbours whose merge comes first becomes
// one symbol, the leftmost first among equals, until no pair has a merge. (Sennrich et al. 2016.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/pair_table.h"

namespace headrace {

class ByteMerge {
 public:
  // Two places more, before and behind the bytes, keep the loop free of questions.
  static constexpr size_t kMaxBytes = (size_t{1} << PairTable::kPlaceBits) - 2;

  // Symbols 0 to 255 are the bytes.
  void learn(const PairTable& pairs);

  // pairs: what was learnt. The symbols of a piece of 1 to kMaxBytes bytes, which has room for as many;
  // returns how many there are. *was_early: a merge that comes before one of its parts was met, and the
  // symbols are not the encoding. (Pieces were tried side by side, two and three at a time, to wait for
  // memory together: slower, since what is waited for are the branches that the processor guessed wrong.)
  size_t run(const PairTable& pairs, std::string_view piece, int32_t* symbols, bool* was_early) const;

 private:
  std::vector<int32_t> byte_pairs_;  // by two bytes, the first the higher: PairTable::find
};

}  // namespace headrace
