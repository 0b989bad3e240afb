#include "text/char_kinds.h"

#include <algorithm>
#include <map>
#include <string>

#include "text/unicode_properties.h"

namespace headrace {

const CharKinds& CharKinds::get() {
  static const CharKinds kinds;
  return kinds;
}

CharKinds::CharKinds() {
  std::vector<CharKind> all(CharSet::kLast + 1, CharKind::kOther);
  const auto mark = [&](const char* property, CharKind kind) {
    const CharSet set = *named_property(property);
    for (const CharRange& range : set.ranges())
      std::fill(all.begin() + static_cast<std::ptrdiff_t>(range.first),
                all.begin() + static_cast<std::ptrdiff_t>(range.last) + 1, kind);
  };
  mark("p", CharKind::kSign);
  mark("s", CharKind::kSign);
  mark("lu", CharKind::kUpper);
  mark("lt", CharKind::kUpper);
  mark("ll", CharKind::kLower);
  mark("lm", CharKind::kLetter);
  mark("lo", CharKind::kLetter);
  mark("m", CharKind::kMark);
  mark("n", CharKind::kNumber);
  mark("whitespace", CharKind::kSpace);

  constexpr size_t kBlock = size_t{1} << kBlockBits;
  std::map<std::vector<CharKind>, uint16_t> known;
  for (auto block = all.begin(); block != all.end(); block += kBlock) {
    std::vector<CharKind> kinds(block, block + kBlock);
    const auto [place, is_new] = known.try_emplace(std::move(kinds), static_cast<uint16_t>(known.size()));
    if (is_new) kinds_.insert(kinds_.end(), place->first.begin(), place->first.end());
    blocks_.push_back(place->second);
  }
}

}  // namespace headrace
