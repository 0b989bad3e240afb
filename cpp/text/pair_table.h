// What two neighbouring symbols of byte-level BPE become: MergeTable in half the memory.
//
// Symbols are numbered by the order in which merges make them, so that a symbol's number says how early its
// merge comes, and a slot holds both parts and the result in eight bytes.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "base/pages.h"

namespace headrace {

class PairTable {
 public:
  static constexpr int kIdBits = 20;
  // What find() gives for pairs that have no merge: larger than all others, and its kPlaceBits lowest bits
  // are free, too.
  static constexpr int32_t kNone = 0x7FFFFFC0;
  static constexpr int kPlaceBits = 6;

  PairTable() { resize(16); }

  // Makes room at once; there may be more.
  void reserve(size_t count) { resize(std::bit_ceil(count + count / 2 + 2)); }

  // left, right, order: below 2^kIdBits. The pair is not there yet. order: the symbol it becomes, or for a
  // merge that comes before one that makes its part (is_early) the last symbol made before it.
  void add(int32_t left, int32_t right, int32_t order, bool is_early);

  // kNone, or a number that is smaller for earlier merges and whose lowest kPlaceBits bits are free. A few
  // bits for each pair stay in the processor's cache and say of most pairs that they have no merge.
  int32_t find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    const uint64_t hash = key * kFactor;
    const uint64_t bits = filter_bits(hash);
    if ((filter_[hash >> filter_shift_] & bits) != bits) return kNone;
    for (size_t at = hash >> shift_;; at = (at + 1) & (slots_.size() - 1)) {
      const uint64_t slot = slots_[at];
      if (slot >> kValueBits == key) return value_of(slot);
      if (slot == kEmpty) return kNone;
    }
  }
  // Asks for the memory that find() will read.
  void prefetch(int32_t left, int32_t right) const {
    __builtin_prefetch(slots_.data() + (key_of(left, right) * kFactor >> shift_));
  }
  static int32_t symbol_of(int32_t found) { return found >> (kPlaceBits + 1); }
  static bool is_early(int32_t found) { return (found >> kPlaceBits & 1) != 0; }

 private:
  static constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;
  static constexpr int kValueBits = 24;             // 20 of order, is_early, 3 unused
  static constexpr uint64_t kEmpty = ~uint64_t{0};  // its key is that of no pair: ids are below 2^20 - 1

  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << kIdBits | static_cast<uint64_t>(right);
  }
  static int32_t value_of(uint64_t slot) {
    return static_cast<int32_t>(slot & ((uint64_t{1} << kValueBits) - 1)) << kPlaceBits;
  }
  // The two bits of a pair in its word of the filter.
  static uint64_t filter_bits(uint64_t hash) {
    return uint64_t{1} << (hash >> 20 & 63) | uint64_t{1} << (hash >> 26 & 63);
  }
  void resize(size_t num_slots);
  // The free place where a pair goes.
  size_t free_place(uint64_t key) const;

  HugePageVector<uint64_t> slots_;  // open addressing, a power of two
  std::vector<uint64_t> filter_;
  size_t size_ = 0;
  int shift_ = 0;
  int filter_shift_ = 0;
};

}  // namespace headrace
