#include "text/bpe_pairs.h"

#include <algorithm>

namespace headrace {

void BpePairs::resize(size_t num_slots) {
  HugePageVector<Slot> old(num_slots);
  old.swap(slots_);
  shift_ = 64 - std::countr_zero(num_slots);
  filter_.assign(std::max<size_t>(num_slots / 8, 2), 0);  // eight bits for each slot
  filter_shift_ = 64 - std::countr_zero(filter_.size());
  for (const Slot& slot : old)
    if (slot.key != kNone) put(slot.key, slot.value);
}

void BpePairs::put(uint64_t key, uint64_t value) {
  const uint64_t hash = (key & ~kEarly) * kFactor;
  filter_[hash >> filter_shift_] |= filter_bits(hash);
  size_t at = hash >> shift_;
  while (slots_[at].key != kNone) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = {key, value};
}

void BpePairs::add(int32_t left, int32_t right, uint32_t rank, int32_t result, bool is_early) {
  if (++size_ * 3 > slots_.size() * 2) resize(slots_.size() * 2);
  put(key_of(left, right) | (is_early ? kEarly : 0),
      uint64_t{rank} << kIdBits | static_cast<uint64_t>(result));
}

}  // namespace headrace
