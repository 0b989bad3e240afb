// Named sets of characters and letter case for regular expressions, and scripts: Unicode 16, which Oniguruma
// follows in the reference. tools/make_unicode_properties.py writes the tables.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "text/char_set.h"

namespace headrace {

// The characters with a property: a general category ("lu", "uppercaseletter") or group of them ("l"), a
// script ("han"), a POSIX bracket ("alnum") or one of a few others ("emoji"). The name in small letters,
// without spaces, hyphens and underscores. Nothing when no such property is known.
std::optional<CharSet> named_property(std::string_view name);

// The full case folding of a character (Unicode 16, section 5.18): itself for most, for some up to three.
std::u32string fold_case(char32_t c);

// Adds the characters whose folding is one character and equals that of a character of the set.
void add_case_variants(CharSet& set);

// A character whose folding is two or three characters; the third is 0 when there are two.
struct LongFolding {
  char32_t character;
  char32_t folded[3];

  size_t size() const { return folded[2] == 0 ? 2 : 3; }
};
std::span<const LongFolding> long_foldings();

// The script by which the pre-tokenizer UnicodeScripts splits: equal numbers for equal scripts, the Japanese
// syllabaries being one with Han; 0 for a space and what had no script when the reference was written.
uint8_t splitting_script(char32_t c);

}  // namespace headrace
