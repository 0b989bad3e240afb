// The merges that count of a byte-level BPE model, by the two tokens that they join.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "base/huge_pages.h"

namespace headrace {

class BpePairs {
 public:
  static constexpr int kIdBits = 20;  // ids are smaller than (1 << kIdBits) - 1
  static constexpr uint64_t kNone = ~uint64_t{0};

  BpePairs() { resize(64); }
  // Makes room at once; there may be more.
  void reserve(size_t count) { resize(std::bit_ceil(count + count / 2 + 2)); }
  // rank: less than 2^32. is_early: the merge comes before one that makes its part.
  void add(int32_t left, int32_t right, uint32_t rank, int32_t result, bool is_early);

  // What two tokens become, and how early: a number that is smaller for earlier merges; kNone when they have
  // no merge. A few bits for each pair stay in the processor's cache and say of most pairs that they have
  // none.
  uint64_t find(int32_t left, int32_t right) const {
    const Slot* const slot = slot_of(left, right);
    return slot == nullptr ? kNone : slot->value;
  }
  static uint32_t rank_of(uint64_t found) { return static_cast<uint32_t>(found >> kIdBits); }
  static int32_t result_of(uint64_t found) {
    return static_cast<int32_t>(found & ((uint64_t{1} << kIdBits) - 1));
  }
  bool is_early(int32_t left, int32_t right) const {
    const Slot* const slot = slot_of(left, right);
    return slot != nullptr && (slot->key & kEarly) != 0;
  }

 private:
  void resize(size_t num_slots);
  void put(uint64_t key, uint64_t value);

  static constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;
  static constexpr uint64_t kEarly = uint64_t{1} << 63;

  struct Slot {
    uint64_t key = kNone;
    uint64_t value = kNone;
  };

  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << kIdBits | static_cast<uint64_t>(right);
  }
  // The two bits of a pair in its word of the filter.
  static uint64_t filter_bits(uint64_t hash) {
    return uint64_t{1} << (hash >> 20 & 63) | uint64_t{1} << (hash >> 26 & 63);
  }
  const Slot* slot_of(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    const uint64_t hash = key * kFactor;
    const uint64_t bits = filter_bits(hash);
    if ((filter_[hash >> filter_shift_] & bits) != bits) return nullptr;
    for (size_t at = hash >> shift_;; at = (at + 1) & (slots_.size() - 1)) {
      if ((slots_[at].key & ~kEarly) == key) return &slots_[at];
      if (slots_[at].key == kNone) return nullptr;
    }
  }

  HugePageVector<Slot> slots_;  // open addressing, a power of two
  std::vector<uint64_t> filter_;
  size_t size_ = 0;
  int shift_ = 0;
  int filter_shift_ = 0;
};

}  // namespace headrace
