#include "text/merge_table.h"

#include <bit>

#include "base/error.h"

namespace headrace {

MergeTable::MergeTable(std::span<const Merge> merges) {
  if (merges.size() >= kNone)
    throw Error(ErrorKind::kUnsupported,
                concat("BPE: ", merges.size(), " merges; at most ", kNone - 1, " are supported"));
  const size_t num_slots = std::bit_ceil(merges.size() + merges.size() / 2 + 2);
  slots_.assign(num_slots, kFree);
  mask_ = num_slots - 1;
  shift_ = 64 - std::countr_zero(num_slots);
  results_.reserve(merges.size());
  for (const Merge& merge : merges) {
    if (merge.left >= kMaxIds - 1 || merge.right >= kMaxIds - 1)
      throw Error(ErrorKind::kUnsupported,
                  concat("BPE: merges of tokens with ids from ", kMaxIds - 1,
                         " are not supported; use a model with a smaller vocabulary"));
    const uint64_t key = key_of(merge.left, merge.right);
    size_t at = slot_of(key);
    while (slots_[at] != kFree && slots_[at] >> kRankBits != key) at = (at + 1) & mask_;
    slots_[at] = key << kRankBits | results_.size();
    results_.push_back(merge.result);
  }
}

}  // namespace headrace
