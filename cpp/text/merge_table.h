// The merges of a BPE model: of two neighbouring symbols, whether they become one, how early, and which.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "base/pages.h"

namespace headrace {

class MergeTable {
 public:
  struct Merge {
    int32_t left;
    int32_t right;
    int32_t result;
  };

  static constexpr int kIdBits = 20;
  static constexpr int32_t kMaxIds = (1 << kIdBits) - 1;  // ids are smaller
  static constexpr size_t kMaxMerges = (size_t{1} << 24) - 1;
  static constexpr uint64_t kNone = ~uint64_t{0};

  MergeTable();
  // A merge's rank is its index. Throws Error(kUnsupported) for larger ids, or for more merges.
  explicit MergeTable(std::span<const Merge> merges);

  // Makes room at once; there may be more.
  void reserve(size_t count) { resize(std::bit_ceil(count + count / 2 + 2)); }
  // Of equal pairs the last counts.
  void add(const Merge& merge, uint32_t rank);

  // What two symbols become, and how early: a number that is smaller for earlier merges; kNone when they have
  // no merge. A few bits for each pair stay in the processor's cache and say of most pairs that they have
  // none.
  uint64_t find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    const uint64_t hash = key * kFactor;
    const uint64_t bits = filter_bits(hash);
    if ((filter_[hash >> filter_shift_] & bits) != bits) return kNone;
    const Slot& often = often_[hash >> kOftenShift];
    if (often.key == key) return often.value;
    for (size_t at = hash >> shift_;; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].key == key) return slots_[at].value;
      if (slots_[at].key == kNone) return kNone;
    }
  }
  static uint32_t rank_of(uint64_t found) { return static_cast<uint32_t>(found >> kIdBits); }
  static int32_t result_of(uint64_t found) {
    return static_cast<int32_t>(found & ((uint64_t{1} << kIdBits) - 1));
  }

 private:
  static constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;
  static constexpr int kOftenShift = 64 - 13;

  struct Slot {
    uint64_t key = kNone;
    uint64_t value = kNone;  // rank, result
  };

  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << kIdBits | static_cast<uint64_t>(right);
  }
  // The two bits of a pair in its word of the filter.
  static uint64_t filter_bits(uint64_t hash) {
    return uint64_t{1} << (hash >> 20 & 63) | uint64_t{1} << (hash >> 26 & 63);
  }
  void resize(size_t num_slots);
  // The pair's place, or the free one where it would go.
  size_t place_of(uint64_t key) const;

  HugePageVector<Slot> slots_;  // open addressing, a power of two
  std::vector<uint64_t> filter_;
  // The first merges once more, one in each place: most of those that texts need, in little memory.
  std::vector<Slot> often_;
  size_t size_ = 0;
  int shift_ = 0;
  int filter_shift_ = 0;
};

}  // namespace headrace
