// Byte pair encoding of long pieces of raw bytes from left to right, in linear time and without merging
// anything.
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
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/bpe_merge.h"
#include "text/merge_table.h"
#include "text/token_prefixes.h"
#include "text/vocabulary.h"

namespace headrace {

class BpeForward {
 public:
  // Puts the merges that count into `table`, which outlives this: those that are used, whatever the text.
  // tokens: as bytes, by id; bytes: the token of each byte. ready() is false, and this of no use, when a byte
  // has no token, a merge is given twice, or there are more of them than MergeTable takes.
  void learn(const Vocabulary& tokens, const std::array<int32_t, 256>& bytes,
             std::span<const MergeTable::Merge> merges, MergeTable& table);
  bool ready() const { return ready_; }
  // Whether there are no early ones.
  bool is_complete() const { return is_complete_; }

  // Replaces symbols by the encoding of a piece, not empty, behind which TokenPrefixes::kPadding bytes can be
  // read. False where that takes a merge that comes before one of its parts: then merge_symbols must do it.
  bool encode(std::string_view piece, std::vector<Symbol>& symbols) const;

  // The token that is all of a piece, and that merges make unless `any`; -1 when there is none.
  int32_t whole(std::string_view piece, bool any) const {
    const int32_t id = prefixes_.whole(piece.data(), piece.size());
    return any || (id >= 0 && makes(id) && (is_complete_ || !is_unclear_[static_cast<size_t>(id)])) ? id : -1;
  }

 private:
  enum class Fit : uint8_t { kYes, kNo, kUnclear };

  // The merge that makes a token: its parts (20 bits each) and its rank, counted from 1; 0: none does.
  struct Split {
    uint64_t bits = 0;

    int32_t left() const { return static_cast<int32_t>(bits >> 44); }
    int32_t right() const { return static_cast<int32_t>(bits >> 24 & ((1 << 20) - 1)); }
    uint32_t rank() const { return static_cast<uint32_t>(bits) & ((1 << 24) - 1); }
  };
  static constexpr uint64_t kByte = uint64_t{1}
                                    << 24;  // the split of a byte's token: no rank, but not nothing

  // Whether the merges make the token of its own text.
  bool makes(int32_t id) const { return split(id).bits != 0; }
  const Split& split(int32_t id) const { return splits_[static_cast<size_t>(id)]; }
  // Finds the merges that count; false when that cannot be done.
  bool learn_merges(std::span<const MergeTable::Merge> merges, MergeTable& table);
  // Whether a merge that comes before one of its parts is never used.
  bool is_idle(const MergeTable::Merge& early) const;
  void mark_unclear(std::span<const MergeTable::Merge> merges);

  // Whether two tokens are the encoding of their joint text; are_joined: but for the merge that they have.
  Fit fit(int32_t left, int32_t right, bool are_joined) const;

  bool ready_ = false;
  bool is_complete_ = true;
  const MergeTable* merges_ = nullptr;
  std::vector<Split> splits_;     // by id
  std::vector<bool> is_unclear_;  // by id: an early merge may change its text; empty when none can
  TokenPrefixes prefixes_;
};

}  // namespace headrace
