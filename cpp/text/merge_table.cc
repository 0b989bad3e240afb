#include "text/merge_table.h"

#include <algorithm>

#include "base/error.h"

namespace headrace {

MergeTable::MergeTable() : often_(size_t{1} << (64 - kOftenShift)) { resize(16); }

MergeTable::MergeTable(std::span<const Merge> merges) : MergeTable() {
  if (merges.size() > kMaxMerges)
    throw Error(ErrorKind::kUnsupported,
                concat("BPE: ", merges.size(), " merges; at most ", kMaxMerges, " are supported"));
  reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) add(merges[i], static_cast<uint32_t>(i));
}

size_t MergeTable::place_of(uint64_t key) const {
  size_t at = key * kFactor >> shift_;
  while (slots_[at].key != kNone && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
  return at;
}

void MergeTable::resize(size_t num_slots) {
  HugePageVector<Slot> old(num_slots);
  old.swap(slots_);
  shift_ = 64 - std::countr_zero(num_slots);
  filter_.assign(std::max<size_t>(num_slots / 8, 2), 0);  // eight bits for each slot
  filter_shift_ = 64 - std::countr_zero(filter_.size());
  for (const Slot& slot : old) {
    if (slot.key == kNone) continue;
    filter_[slot.key * kFactor >> filter_shift_] |= filter_bits(slot.key * kFactor);
    slots_[place_of(slot.key)] = slot;
  }
}

void MergeTable::add(const Merge& merge, uint32_t rank) {
  if (merge.left >= kMaxIds || merge.right >= kMaxIds || merge.result >= kMaxIds)
    throw Error(ErrorKind::kUnsupported, concat("BPE: merges of tokens with ids from ", kMaxIds,
                                                " are not supported; use a model with a smaller vocabulary"));
  if (++size_ * 3 > slots_.size() * 2) resize(slots_.size() * 2);
  const uint64_t key = key_of(merge.left, merge.right);
  const uint64_t value = uint64_t{rank} << kIdBits | static_cast<uint64_t>(merge.result);
  filter_[key * kFactor >> filter_shift_] |= filter_bits(key * kFactor);
  slots_[place_of(key)] = {key, value};
  Slot& often = often_[key * kFactor >> kOftenShift];
  if (often.key == kNone || often.key == key) often = {key, value};
}

}  // namespace headrace
