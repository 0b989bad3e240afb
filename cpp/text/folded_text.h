// UTF-8 read as if it were typed plainly: full-width forms (U+FF01..FF5E) as ASCII, every kind of space and
// hyphen as one. What people write numbers with, seen one character at a time and in both directions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/utf8.h"

namespace headrace {

// Stands for U+00B7 and its kin, the dot that Chinese plates and foreign names are written with.
inline constexpr char kMiddleDot = '\x01';

struct Glyph {
  char c = 0;        // ASCII, kMiddleDot, or 0 for everything else
  uint8_t size = 1;  // bytes it takes in the text; 1 for an ill-formed byte
};

inline bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_ascii_upper(char c) { return c >= 'A' && c <= 'Z'; }
inline bool is_ascii_letter(char c) { return is_ascii_upper(static_cast<char>(c & ~0x20)); }
inline bool is_ascii_alnum(char c) { return is_ascii_digit(c) || is_ascii_letter(c); }
inline char ascii_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

// What a character beyond ASCII stands for.
inline char folded(char32_t c) {
  if (c >= 0xFF01 && c <= 0xFF5E) return static_cast<char>(c - 0xFEE0);
  if (c == 0xA0 || c == 0xAD || c == 0x3000 || c == 0x202F || c == 0x205F || c == 0x2060 || c == 0xFEFF)
    return ' ';
  if (c >= 0x2000 && c <= 0x200D) return ' ';
  if ((c >= 0x2010 && c <= 0x2015) || c == 0x2212) return '-';
  if (c == 0xB7 || c == 0x2022 || c == 0x2027 || c == 0x30FB) return kMiddleDot;
  return 0;
}

// The character that begins at text[at]; at < text.size().
inline Glyph glyph_at(std::string_view text, size_t at) {
  if (static_cast<uint8_t>(text[at]) < 0x80) return {text[at], 1};
  const size_t length = utf8_sequence_length(text, at);
  if (length == 0) return {};
  return {length == 4 ? '\0' : folded(utf8_decode(text.data() + at, length)), static_cast<uint8_t>(length)};
}

// The character that ends in front of text[at]; at > 0.
inline Glyph glyph_before(std::string_view text, size_t at) {
  if (static_cast<uint8_t>(text[at - 1]) < 0x80) return {text[at - 1], 1};
  for (size_t length = 2; length <= 4 && length <= at; ++length) {
    if ((static_cast<uint8_t>(text[at - length]) & 0xC0) == 0x80) continue;
    if (utf8_sequence_length(text, at - length) != length) break;
    return {length == 4 ? '\0' : folded(utf8_decode(text.data() + at - length, length)),
            static_cast<uint8_t>(length)};
  }
  return {};
}

// The folded character at or in front of a place; 0 at the ends of the text.
inline char folded_at(std::string_view text, size_t at) {
  return at < text.size() ? glyph_at(text, at).c : '\0';
}
inline char folded_before(std::string_view text, size_t at) {
  return at > 0 ? glyph_before(text, at).c : '\0';
}

}  // namespace headrace
