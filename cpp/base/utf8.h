// UTF-8 at the level of bytes (Unicode 15, section 3.9, table 3-7): nothing here knows what a character
// means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace headrace {

// The length in bytes of the well-formed sequence that starts at text[at]; 0 if none does (overlong forms,
// surrogates, values above U+10FFFF and cut-off sequences are ill-formed). at < text.size().
inline size_t utf8_sequence_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  const size_t left = text.size() - at;
  const auto tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint8_t b = byte(0);
  if (b < 0x80) return 1;
  if (b < 0xC2) return 0;
  if (b < 0xE0) return left >= 2 && tail(1) ? 2 : 0;
  if (b < 0xF0) {
    if (left < 3 || !tail(1) || !tail(2)) return 0;
    if (b == 0xE0 && byte(1) < 0xA0) return 0;
    if (b == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (b > 0xF4 || left < 4 || !tail(1) || !tail(2) || !tail(3)) return 0;
  if (b == 0xF0 && byte(1) < 0x90) return 0;
  if (b == 0xF4 && byte(1) > 0x8F) return 0;
  return 4;
}

// The code point of the well-formed sequence of `length` bytes at `p`.
inline char32_t utf8_decode(const char* p, size_t length) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<uint8_t>(p[i])); };
  switch (length) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    case 3:
      return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    default:
      return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }
}

// Appends the UTF-8 form of `c`, a Unicode scalar value, to `out`.
inline void utf8_append(char32_t c, std::string& out) {
  const auto put = [&](char32_t v) { out.push_back(static_cast<char>(v)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

// The offset of the first ill-formed byte, or text.size() when all of it is well-formed.
inline size_t utf8_first_invalid(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t block = 0;
    if (text.size() - at >= sizeof block) {
      std::memcpy(&block, text.data() + at, sizeof block);
      if ((block & 0x8080808080808080) == 0) {
        at += sizeof block;
        continue;
      }
    }
    const size_t length = utf8_sequence_length(text, at);
    if (length == 0) return at;
    at += length;
  }
  return at;
}

}  // namespace headrace
