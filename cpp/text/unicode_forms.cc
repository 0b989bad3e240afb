#include "text/unicode_forms.h"

#include <algorithm>

namespace headrace {
namespace {

constexpr char32_t kLeadingFirst = 0x1100, kLeadingCount = 19;
constexpr char32_t kVowelFirst = 0x1161, kVowelCount = 21;
constexpr char32_t kTrailingBase = 0x11A7, kTrailingCount = 28;  // the base itself is no character

}  // namespace

#include "text/unicode_forms.inc"

std::span<const char32_t> compatible_decomposition(char32_t c) {
  constexpr int kBits = FormTables::kBlockBits;
  constexpr size_t kMask = (size_t{1} << kBits) - 1;
  const size_t block = kCompatibleIndex[c >> kBits];
  const size_t at = kCompatibleBlocks[block << kBits | (c & kMask)];
  return {kCompatible + at + 1, kCompatible[at]};
}

char32_t compose(char32_t first, char32_t second) {
  if (first - kLeadingFirst < kLeadingCount && second - kVowelFirst < kVowelCount)
    return kHangulFirst + ((first - kLeadingFirst) * kVowelCount + second - kVowelFirst) * kTrailingCount;
  if (first - kHangulFirst < kHangulCount && (first - kHangulFirst) % kTrailingCount == 0 &&
      second - kTrailingBase - 1 < kTrailingCount - 1)
    return first + second - kTrailingBase;
  const auto before = [](const Composition& a, const Composition& b) {
    return a.first != b.first ? a.first < b.first : a.second < b.second;
  };
  const Composition key{first, second, 0};
  const auto found = std::lower_bound(std::begin(kCompositions), std::end(kCompositions), key, before);
  if (found == std::end(kCompositions) || before(key, *found)) return 0;
  return found->composite;
}

}  // namespace headrace
