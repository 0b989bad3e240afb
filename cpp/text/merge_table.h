// The merges of a BPE model: of two neighbouring symbols, whether they become one, how early, and which.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace headrace {

class MergeTable {
 public:
  struct Merge {
    int32_t left;
    int32_t right;
    int32_t result;
  };

  static constexpr uint32_t kNone = (1u << 24) - 1;

  MergeTable() : MergeTable(std::span<const Merge>()) {}

  // A merge's rank is its index; of equal pairs the last counts. Throws Error(kUnsupported) for ids of
  // kMaxIds or more, or kNone merges.
  explicit MergeTable(std::span<const Merge> merges);

  // The rank of a pair, or kNone.
  uint32_t rank(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    for (size_t at = slot_of(key);; at = (at + 1) & mask_) {
      const uint64_t slot = slots_[at];
      if (slot >> kRankBits == key) return static_cast<uint32_t>(slot) & kNone;
      if (slot == kFree) return kNone;
    }
  }
  // Brings the pair's place nearer; worth it when other work comes before rank().
  void prefetch(int32_t left, int32_t right) const {
    __builtin_prefetch(slots_.data() + slot_of(key_of(left, right)));
  }
  // What a pair of this rank becomes.
  int32_t result(uint32_t rank) const { return results_[rank]; }

  size_t size() const { return results_.size(); }

 private:
  static constexpr int kIdBits = 20;
  static constexpr int kRankBits = 24;
  static constexpr int32_t kMaxIds = 1 << kIdBits;
  // No pair: its rank says so, and pairs of the two largest ids are refused.
  static constexpr uint64_t kFree = ~uint64_t{0};

  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << kIdBits | static_cast<uint64_t>(right);
  }
  size_t slot_of(uint64_t key) const { return static_cast<size_t>((key * 0x9E3779B97F4A7C15) >> shift_); }

  std::vector<uint64_t> slots_;  // key and rank in one word; open addressing, a power of two
  size_t mask_ = 0;
  int shift_ = 0;
  std::vector<int32_t> results_;
};

}  // namespace headrace
