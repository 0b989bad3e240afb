#include "text/char_set.h"

#include <algorithm>

namespace headrace {

bool CharSet::contains(char32_t c) const {
  const auto behind =
      std::upper_bound(ranges_.begin(), ranges_.end(), c,
                       [](char32_t value, const CharRange& range) { return value < range.first; });
  return behind != ranges_.begin() && c <= std::prev(behind)->last;
}

void CharSet::add(const CharSet& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
  sort();
}

CharSet CharSet::complement() const {
  CharSet result;
  char32_t next = 0;
  for (const auto& [first, last] : ranges_) {
    if (next < first) result.ranges_.push_back({next, first - 1});
    next = last + 1;
  }
  if (next <= kLast) result.ranges_.push_back({next, kLast});
  return result;
}

CharSet CharSet::intersection(const CharSet& other) const {
  CharSet either = complement();
  either.add(other.complement());
  return either.complement();
}

void CharSet::sort() {
  std::sort(ranges_.begin(), ranges_.end());
  size_t kept = 0;
  for (const CharRange& range : ranges_) {
    if (kept > 0 && range.first <= ranges_[kept - 1].last + 1)
      ranges_[kept - 1].last = std::max(ranges_[kept - 1].last, range.last);
    else
      ranges_[kept++] = range;
  }
  ranges_.resize(kept);
}

}  // namespace headrace
