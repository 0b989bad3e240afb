// The normalization forms of Unicode (UAX 15) and its user-perceived characters (UAX 29), as far as
// normalizers need them.
//
// The tables follow the reference implementation, whose parts were built from different versions of Unicode;
// tools/make_unicode_forms.py says which and writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "text/unicode.h"

namespace headrace {

enum class Form : uint8_t { kNfc, kNfkc, kNfd, kNfkd };

// Grapheme_Cluster_Break, Extended_Pictographic and Indic_Conjunct_Break in one.
enum class Grapheme : uint8_t {
  kOther,
  kControl,
  kExtend,
  kLinker,     // an Extend that joins Indic consonants
  kNonJoiner,  // an Extend that parts them
  kZeroWidthJoiner,
  kSpacingMark,
  kPrepend,
  kLeading,   // Hangul L
  kVowel,     // Hangul V
  kTrailing,  // Hangul T
  kPictograph,
  kConsonant,  // Indic
};

struct FormInfo {
  uint8_t changes;  // bit per Form: the character may not stand in that form, or only behind some others
  uint8_t joins;    // bit per Form: may combine, or change places, with what is before it
  uint8_t combining_class;
  Grapheme grapheme;  // Hangul syllables, carriage return and line feed: see graphemes.h
  uint8_t flags;

  static constexpr uint8_t kMark = 1;        // category M
  static constexpr uint8_t kCompatible = 2;  // compatible_decomposition is not empty
};

struct Composition {
  char32_t first;
  char32_t second;
  char32_t composite;
};

struct FormTables {
  static constexpr int kBlockBits = 7;

  static const FormInfo kRecords[];
  static const uint16_t kIndex[];  // block of each 128 code points
  static const uint8_t kBlocks[];  // record of each code point of each block
};

// c is a scalar value.
inline const FormInfo& form_info(char32_t c) {
  constexpr size_t kMask = (size_t{1} << FormTables::kBlockBits) - 1;
  const size_t block = FormTables::kIndex[c >> FormTables::kBlockBits];
  return FormTables::kRecords[FormTables::kBlocks[block << FormTables::kBlockBits | (c & kMask)]];
}

// The full compatibility decomposition of a character where that is not its canonical one; else empty.
std::span<const char32_t> compatible_decomposition(char32_t c);

// The primary composite of two characters, Hangul syllables among them; 0 when there is none.
char32_t compose(char32_t first, char32_t second);

}  // namespace headrace
