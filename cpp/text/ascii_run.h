// How far a text stays within ASCII: what lets most stages leave most texts alone at the speed of memory.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace headrace {

// The offset of the first byte at or behind `at` that is above 0x7F; text.size() when there is none.
inline size_t skip_ascii(std::string_view text, size_t at) {
#if defined(__SSE2__)
  for (; text.size() - at >= 16; at += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    const auto high = static_cast<uint32_t>(_mm_movemask_epi8(block));
    if (high != 0) return at + static_cast<size_t>(std::countr_zero(high));
  }
#else
  for (; text.size() - at >= 8; at += 8) {
    uint64_t block;
    std::memcpy(&block, text.data() + at, 8);
    if ((block & 0x8080808080808080) != 0) break;
  }
#endif
  while (at < text.size() && static_cast<uint8_t>(text[at]) < 0x80) ++at;
  return at;
}

// The length of the character that begins with `byte`, in well-formed UTF-8.
inline size_t utf8_length(char byte) {
  const auto b = static_cast<uint8_t>(byte);
  return b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}

// Where the character that holds the byte at `at` begins.
inline size_t utf8_begin(std::string_view text, size_t at) {
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

}  // namespace headrace
