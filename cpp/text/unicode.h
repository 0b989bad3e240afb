// What a tokenizer must know about characters: categories, white space, case, canonical decomposition.
//
// The tables follow the reference implementation (the `tokenizers` library), whose parts were built from
// different versions of Unicode; tools/make_unicode_tables.py says which and writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace headrace {

struct CharInfo {
  enum Flag : uint8_t {
    kControl = 1 << 0,      // categories Cc, Cf and Co but tab, newline and return; also U+FFFD
    kSpace = 1 << 1,        // White_Space
    kPunctuation = 1 << 2,  // category P, and all ASCII symbols
    kNonspacing = 1 << 3,   // category Mn
    kIdeograph = 1 << 4,    // the CJK blocks that BERT splits by character
    kWord = 1 << 5,         // matches \w (UTS 18, annex C)
    kDecomposes = 1 << 6,   // canonical_decomposition is not empty
  };

  int32_t lower_distance;  // small letter minus capital
  uint8_t flags;
  uint8_t combining_class;  // canonical combining class; 0: a starter

  bool has(int any_of) const { return (flags & any_of) != 0; }
};

// Two-stage tables: a block of code points has a number, and equal blocks share one. In unicode_tables.inc.
struct UnicodeTables {
  static constexpr int kBlockBits = 7;

  static const CharInfo kRecords[];
  static const uint8_t kInfoIndex[];   // block of each 128 code points
  static const uint8_t kInfoBlocks[];  // record of each code point of each block
};

// c is a scalar value: at most U+10FFFF and no surrogate.
inline const CharInfo& char_info(char32_t c) {
  constexpr size_t kMask = (size_t{1} << UnicodeTables::kBlockBits) - 1;
  const size_t block = UnicodeTables::kInfoIndex[c >> UnicodeTables::kBlockBits];
  return UnicodeTables::kRecords[UnicodeTables::kInfoBlocks[block << UnicodeTables::kBlockBits |
                                                            (c & kMask)]];
}

// The full canonical decomposition of a character that has one and is no Hangul syllable; else empty.
std::span<const char32_t> canonical_decomposition(char32_t c);

// The one character whose lower case is two characters: a small i and U+0307.
inline constexpr char32_t kDottedCapitalI = 0x130;

// Hangul syllables decompose by arithmetic (Unicode 15, section 3.12).
inline constexpr char32_t kHangulFirst = 0xAC00;
inline constexpr char32_t kHangulCount = 11172;

// Calls f(part) for each character of c's full canonical decomposition: c itself where there is none.
template <typename Function>
void decompose(char32_t c, Function&& f) {
  if (c - kHangulFirst < kHangulCount) {
    const char32_t index = c - kHangulFirst;
    f(0x1100 + index / 588);
    f(0x1161 + index % 588 / 28);
    if (index % 28 != 0) f(0x11A7 + index % 28);
    return;
  }
  const auto parts = canonical_decomposition(c);
  for (char32_t part : parts) f(part);
  if (parts.empty()) f(c);
}

}  // namespace headrace
