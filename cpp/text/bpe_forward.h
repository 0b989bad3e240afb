// Byte pair encoding of raw bytes: whole tokens, short pieces by merging, and long ones from left to right,
// in linear time and without merging anything.
//
// Where merges build on earlier merges only, a list of tokens is the encoding of a text exactly when each two
// neighbours are the encoding of their own text. One way: what happens between the borders of two tokens does
// not depend on what lies outside of them, as nothing is ever joined across those borders. The other: the
// first merge across a border would join symbols within two neighbours, and would have been made in their
// text alone, too. So the encoding is found by taking the longest token that fits the one before, and going
// back where none does; a place where nothing fits is never tried again, since the tokens up to a place are
// unique. (Antonov, van Antwerpen 2024, "So many tokens, so little time", GitHub's engineering blog.)
//
// Whether two tokens fit is seen by undoing their merges, the latest first: they do not if, at any time, the
// symbols beside the border had a merge that came before the one undone.
//
// Inside, tokens are symbols: bytes are 0 to 255, and the others follow in the order of the merges that make
// them. Tokens that no merge makes come last.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/bpe_merge.h"
#include "text/byte_merge.h"
#include "text/merge_table.h"
#include "text/pair_table.h"
#include "text/token_prefixes.h"
#include "text/vocabulary.h"

namespace headrace {

class BpeForward {
 public:
  static constexpr size_t kMaxShort = ByteMerge::kMaxBytes;

  // tokens: as bytes, by id, empty where there is none; bytes: the token of each byte. ready() is false, and
  // this of no use, when a byte has no token, a merge is given twice, or there are more of them than
  // MergeTable takes.
  void learn(std::span<const std::string_view> tokens, const std::array<int32_t, 256>& bytes,
             std::span<const MergeTable::Merge> merges);
  bool ready() const { return ready_; }
  // Whether there are no early ones.
  bool is_complete() const { return is_complete_; }

  // Replaces symbols by the encoding of a piece, not empty. False where that takes a merge that comes before
  // one of its parts: then merge_symbols must do it.
  bool encode(std::string_view piece, std::vector<Symbol>& symbols) const;

  // The same of 1 to kMaxShort bytes, as ids alone, for which there is room; how many there are, 0: false.
  size_t encode_short(std::string_view piece, int32_t* ids) const;

  // The token that is all of a piece, and that merges make unless `any`; -1 when there is none.
  int32_t whole(std::string_view piece, bool any) const { return whole(prefixes_.whole(piece), any); }
  int32_t whole(const TokenPrefixes::ShortText& piece, bool any) const {
    return whole(prefixes_.whole(piece), any);
  }

 private:
  enum class Fit : uint8_t { kYes, kNo, kUnclear };

  struct Split {
    int32_t left;
    int32_t right;
  };
  static constexpr int32_t kNumBytes = 256;

  int32_t num_made() const { return kNumBytes + static_cast<int32_t>(splits_.size()); }
  // The symbols of the merge that makes one.
  const Split& split(int32_t symbol) const { return splits_[static_cast<size_t>(symbol - kNumBytes)]; }
  // How early a symbol is made: bytes are there from the beginning.
  static int32_t order(int32_t symbol) { return symbol < kNumBytes ? 0 : symbol; }
  // Finds the merges that count; false when that cannot be done.
  bool learn_merges(std::span<const MergeTable::Merge> merges, std::vector<int32_t>& symbols);
  void mark_unclear();
  // Numbers the tokens that no merge makes, and learns what all of them look like.
  void learn_tokens(std::span<const std::string_view> tokens, std::vector<int32_t>& symbols);

  // Whether two symbols are the encoding of their joint text; are_joined: but for the merge that they have.
  Fit fit(int32_t left, int32_t right, bool are_joined) const;
  int32_t whole(int32_t symbol, bool any) const {
    const bool is_made = symbol >= 0 && symbol < num_made();
    if (symbol < 0 || !(any || (is_made && !is_unclear(symbol)))) return -1;
    return ids_[static_cast<size_t>(symbol)];
  }
  bool is_unclear(int32_t symbol) const { return !is_complete_ && is_unclear_[static_cast<size_t>(symbol)]; }

  bool ready_ = false;
  bool is_complete_ = true;
  PairTable pairs_;  // of the merges that are used, whatever the text
  ByteMerge short_merge_;
  std::vector<Split> splits_;     // of the symbols behind the bytes
  std::vector<int32_t> ids_;      // by symbol
  std::vector<bool> is_unclear_;  // by symbol: an early merge may change its text; empty when none can
  TokenPrefixes prefixes_;
};

}  // namespace headrace
