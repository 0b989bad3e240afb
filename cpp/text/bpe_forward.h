// Byte pair encoding from left to right, in linear time and without merging anything.
//
// Where merges build on earlier merges only, a list of tokens is the encoding of a text exactly when each two
// neighbours are the encoding of their own text. One way: what happens between the borders of two tokens does
// not depend on what lies outside of them, as nothing is ever joined across those borders. The other: the first
// merge across a border would join symbols within two neighbours, and would have been made in their text alone,
// too. So the encoding is found by taking the longest token that fits the one before, and going back where none
// does; a place where nothing fits is never tried again, since the tokens up to a place are unique. (Antonov,
// van Antwerpen 2024, "So many tokens, so little time", GitHub's engineering blog.)
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
  static constexpr int32_t kMaxTokens = (1 << 20) - 1;  // no id is larger or equal
  static constexpr size_t kMaxMerges = (size_t{1} << 24) - 1;

  // tokens: as bytes, by id; bytes: the token of each byte. ready() is false, and this of no use, when a byte
  // has no token, a merge is given twice, or there are more than those.
  void learn(const Vocabulary& tokens, const std::array<int32_t, 256>& bytes,
             std::span<const MergeTable::Merge> merges);
  bool ready() const { return ready_; }
  // Whether encode() always knows.
  bool is_complete() const { return is_complete_; }

  // Replaces symbols by the encoding of a piece, not empty, behind which TokenPrefixes::kPadding bytes can be read.
  // False where that takes a merge that comes before one
  // of its parts: then merge_symbols must do it.
  bool encode(std::string_view piece, std::vector<Symbol>& symbols) const;

  // The token that is all of a piece, whether or not merges make it; -1 when there is none. As encode().
  int32_t whole(std::string_view piece) const { return prefixes_.whole(piece.data(), piece.size()); }
  // For pieces that encode() is to be called for soon: what it reads can be on its way by then. As encode().
  void prefetch(std::span<const std::string_view> pieces) const;

 private:
  static constexpr uint32_t kNoRank = ~uint32_t{0};
  static constexpr uint32_t kEarly = kMaxMerges;  // the rank of a merge that comes before one of its parts
  enum class Fit : uint8_t { kYes = 1, kNo, kUnclear };

  // Undoing a merge: its rank, which is one more than MergeTable's, and the part beside a border. Rank 0: none.
  struct Step {
    uint64_t bits = 0;

    uint32_t rank() const { return static_cast<uint32_t>(bits) & ((1 << 24) - 1); }
    int32_t part() const { return static_cast<int32_t>(bits >> 24); }
  };
  // How the merges that made a token are undone, seen from its left end and from its right end. What is left after
  // kSteps goes on in the record of the part left. One line of the processor's cache.
  static constexpr size_t kSteps = 4;
  struct alignas(64) History {
    Step left[kSteps];
    Step right[kSteps];
  };

  // Merges by their two parts. A few bits for each pair stay in the processor's cache and say of most pairs
  // that they have none.
  class Pairs {
   public:
    void reserve(size_t count);
    void add(int32_t left, int32_t right, uint32_t rank);
    uint32_t rank(int32_t left, int32_t right) const {
      const uint64_t key = key_of(left, right);
      const uint64_t hash = key * kFactor;
      const uint64_t bits = filter_bits(hash);
      if ((filter_[hash >> filter_shift_] & bits) != bits) return kNoRank;
      for (size_t at = hash >> shift_;; at = (at + 1) & (slots_.size() - 1)) {
        if (slots_[at] >> kRankBits == key) return static_cast<uint32_t>(slots_[at]) & kRankMask;
        if (slots_[at] == kFree) return kNoRank;
      }
    }

    static constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;
    static uint64_t key_of(int32_t left, int32_t right) {
      return static_cast<uint64_t>(left) << 20 | static_cast<uint64_t>(right);
    }

   private:
    static constexpr uint64_t kFree = ~uint64_t{0};  // no pair: ids are smaller
    static constexpr int kRankBits = 24;
    static constexpr uint32_t kRankMask = (1u << kRankBits) - 1;
    static uint64_t filter_bits(uint64_t hash) {
      return uint64_t{1} << (hash >> 20 & 63) | uint64_t{1} << (hash >> 26 & 63);
    }

    HugePageVector<uint64_t> slots_;  // key and rank in one word
    std::vector<uint64_t> filter_;
    int shift_ = 0;
    int filter_shift_ = 0;
  };

  // Whether the merges make the token of its own text.
  bool makes(int32_t id) const { return is_made_[static_cast<size_t>(id)]; }
  const History& history(int32_t id) const { return histories_[static_cast<size_t>(id)]; }
  uint32_t rank_of(int32_t id) const { return history(id).left[0].rank(); }
  void learn_prefixes(const Vocabulary& tokens);
  // Whether a merge that comes before one of its parts is never used.
  bool is_idle(const MergeTable::Merge& early) const;
  void mark_unclear(std::span<const MergeTable::Merge> merges);

  void prefetch_histories(std::string_view piece) const;
  // Whether two tokens are the encoding of their joint text; are_joined: but for the merge that they have.
  Fit fit(int32_t left, int32_t right, bool are_joined) const;

  bool ready_ = false;
  bool is_complete_ = true;
  HugePageVector<History> histories_;  // by id
  std::vector<bool> is_made_;          // by id
  std::vector<bool> is_unclear_;  // by id: an early merge may change its text; empty when none can
  Pairs pairs_;
  TokenPrefixes prefixes_;
};

}  // namespace headrace
