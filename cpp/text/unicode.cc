#include "text/unicode.h"

namespace headrace {
namespace {
#include "text/unicode_tables.inc"

constexpr size_t kBlockMask = (size_t{1} << kBlockBits) - 1;
}  // namespace

const CharInfo& char_info(char32_t c) {
  const size_t block = kInfoIndex[c >> kBlockBits];
  return kRecords[kInfoBlocks[block << kBlockBits | (c & kBlockMask)]];
}

std::span<const char32_t> canonical_decomposition(char32_t c) {
  const size_t block = kDecompositionIndex[c >> kBlockBits];
  const size_t at = kDecompositionBlocks[block << kBlockBits | (c & kBlockMask)];
  return {kDecompositions + at + 1, kDecompositions[at]};
}

}  // namespace headrace
