#include "text/unicode.h"

namespace headrace {

#include "text/unicode_tables.inc"

std::span<const char32_t> canonical_decomposition(char32_t c) {
  constexpr int kBits = UnicodeTables::kBlockBits;
  constexpr size_t kMask = (size_t{1} << kBits) - 1;
  const size_t block = kDecompositionIndex[c >> kBits];
  const size_t at = kDecompositionBlocks[block << kBits | (c & kMask)];
  return {kDecompositions + at + 1, kDecompositions[at]};
}

}  // namespace headrace
