// A number as people write it: letters and digits in groups, one space, hyphen or dot between them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/folded_text.h"

namespace headrace {

inline bool is_number_separator(char c) { return c == ' ' || c == '-' || c == '.'; }

// Whether a number may begin at text[at]: not within a word, and not behind "12." or "12-".
inline bool is_number_begin(std::string_view text, size_t at) {
  if (at == 0) return true;
  const Glyph before = glyph_before(text, at);
  if (is_ascii_alnum(before.c) || before.c == '_') return false;
  if (before.c != '-' && before.c != '.') return true;
  return !is_ascii_digit(folded_before(text, at - before.size));
}

// Whether a number may end in front of text[at]: nothing of a word follows, no '@' (it is then the name of a
// mailbox), and no "-1" or ".5".
inline bool is_number_end(std::string_view text, size_t at) {
  if (at == text.size()) return true;
  const Glyph after = glyph_at(text, at);
  if (is_ascii_alnum(after.c) || after.c == '_' || after.c == '@') return false;
  if (after.c != '-' && after.c != '.') return true;
  return !is_ascii_digit(folded_at(text, at + after.size));
}

// Whether one letter or digit and a separator stand in front of text[at]: "1 2 3" goes on here.
bool is_behind_single(std::string_view text, size_t at);

struct NumberLine {
  static constexpr size_t kCapacity = 36;  // an IBAN has 34

  // Reads from text[at] on, where a letter or digit stands.
  NumberLine(std::string_view text, size_t at);

  std::string_view first(size_t count) const { return {upper.data(), count}; }
  size_t end_of(size_t count) const { return ends[count - 1]; }

  // Whether the first `count` characters stand alone in the text: evenly written (unbroken, in groups with
  // one kind of separator, or each by itself) and with nothing behind that belongs to them.
  bool stands_alone(size_t count) const;

  // How many of the first `count` characters stand in each group: unbroken numbers have one.
  // Writes at most kCapacity sizes and returns how many.
  size_t groups(size_t count, std::array<uint8_t, kCapacity>& sizes) const;

  std::string_view text;
  size_t size = 0;
  std::array<char, kCapacity> upper;  // folded, in capitals
  std::array<char, kCapacity> gap;    // the separator in front of it, 0 for none
  std::array<uint32_t, kCapacity> ends;
  bool behind_single;  // is_behind_single: the line began earlier
};

}  // namespace headrace
