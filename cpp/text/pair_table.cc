#include "text/pair_table.h"

namespace headrace {

size_t PairTable::free_place(uint64_t key) const {
  size_t at = key * kFactor >> shift_;
  while (slots_[at] != kEmpty) at = (at + 1) & (slots_.size() - 1);
  return at;
}

void PairTable::resize(size_t num_slots) {
  HugePageVector<uint64_t> old(num_slots, kEmpty);
  old.swap(slots_);
  shift_ = 64 - std::countr_zero(num_slots);
  filter_.assign(std::max<size_t>(num_slots / 8, 2), 0);  // eight bits for each slot
  filter_shift_ = 64 - std::countr_zero(filter_.size());
  for (const uint64_t slot : old) {
    if (slot == kEmpty) continue;
    const uint64_t hash = (slot >> kValueBits) * kFactor;
    filter_[hash >> filter_shift_] |= filter_bits(hash);
    slots_[free_place(slot >> kValueBits)] = slot;
  }
}

void PairTable::add(int32_t left, int32_t right, int32_t order, bool is_early) {
  if (++size_ * 3 > slots_.size() * 2) resize(slots_.size() * 2);
  const uint64_t key = key_of(left, right);
  const uint64_t slot = key << kValueBits | static_cast<uint64_t>(order) << 1 | (is_early ? 1 : 0);
  filter_[key * kFactor >> filter_shift_] |= filter_bits(key * kFactor);
  slots_[free_place(key)] = slot;
}

}  // namespace headrace
