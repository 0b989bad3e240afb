// Up to 64 bytes of text as bit masks: bit i of a mask is set when byte i belongs to a character of that
// kind.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/utf8.h"
#include "text/char_kinds.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace headrace {

struct TextMasks {
  uint64_t upper = 0;
  uint64_t lower = 0;
  uint64_t letter = 0;  // of no case
  uint64_t mark = 0;
  uint64_t number = 0;
  uint64_t space = 0;    // newlines and blanks among them
  uint64_t newline = 0;  // \r and \n
  uint64_t blank = 0;    // ' '
  uint64_t apostrophe = 0;
  uint64_t slash = 0;
  uint64_t sign = 0;   // of the first 128 characters, those that are none of the above and no controls, too
  uint64_t kanji = 0;  // whatever they are besides
  uint64_t high = 0;   // bytes of characters beyond ASCII
  uint64_t tail = 0;   // those of them that do not begin one
};

inline uint64_t low_bits(size_t count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

// All masks of the 64 bytes at `bytes` as far as ASCII goes; high and tail in full.
inline TextMasks ascii_masks(const char* bytes) {
  TextMasks masks;
#if defined(__SSE2__)
  for (int part = 0; part < 4; ++part) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + part * 16));
    const auto put = [part](uint64_t& mask, __m128i chosen) {
      mask |= uint64_t{static_cast<uint32_t>(_mm_movemask_epi8(chosen))} << (part * 16);
    };
    const auto is = [block](char c) { return _mm_cmpeq_epi8(block, _mm_set1_epi8(c)); };
    const auto in_range = [](__m128i from, char first, char count) {
      const __m128i distance = _mm_sub_epi8(from, _mm_set1_epi8(first));
      return _mm_cmpeq_epi8(_mm_min_epu8(distance, _mm_set1_epi8(static_cast<char>(count - 1))), distance);
    };
    const __m128i blank = is(' ');
    put(masks.upper, in_range(block, 'A', 26));
    put(masks.lower, in_range(block, 'a', 26));
    put(masks.number, in_range(block, '0', 10));
    put(masks.space, _mm_or_si128(blank, in_range(block, '\t', 5)));
    put(masks.newline, _mm_or_si128(is('\n'), is('\r')));
    put(masks.blank, blank);
    put(masks.apostrophe, is('\''));
    put(masks.slash, is('/'));
    put(masks.sign, in_range(block, '!', '~' - '!' + 1));
    put(masks.high, block);
    put(masks.tail, _mm_cmplt_epi8(block, _mm_set1_epi8(static_cast<char>(0xC0))));
  }
  masks.sign &= ~(masks.upper | masks.lower | masks.number);
#else
  for (int i = 0; i < 64; ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    const uint64_t bit = uint64_t{1} << i;
    if (byte >= 'A' && byte <= 'Z') masks.upper |= bit;
    if (byte >= 'a' && byte <= 'z') masks.lower |= bit;
    if (byte >= '0' && byte <= '9') masks.number |= bit;
    if (byte == ' ' || (byte >= '\t' && byte <= '\r')) masks.space |= bit;
    if (byte == '\n' || byte == '\r') masks.newline |= bit;
    if (byte == ' ') masks.blank |= bit;
    if (byte == '\'') masks.apostrophe |= bit;
    if (byte == '/') masks.slash |= bit;
    if (byte > ' ' && byte <= '~' && ((masks.upper | masks.lower | masks.number) & bit) == 0)
      masks.sign |= bit;
    if (byte >= 0x80) masks.high |= bit;
    if ((byte & 0xC0) == 0x80) masks.tail |= bit;
  }
#endif
  return masks;
}

// Adds the characters beyond ASCII among the first `size` bytes, which end between characters; kanji only if
// kKanji.
template <bool kKanji>
void add_high_masks(const char* bytes, size_t size, TextMasks& masks) {
  const CharKinds& kinds = CharKinds::get();
  uint64_t by_kind[kNumCharKinds] = {};
  for (uint64_t left = masks.high & ~masks.tail & low_bits(size); left != 0; left &= left - 1) {
    const auto at = static_cast<size_t>(std::countr_zero(left));
    const auto lead = static_cast<uint8_t>(bytes[at]);
    const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    const char32_t c = utf8_decode(bytes + at, length);
    const uint64_t bits = low_bits(length) << at;
    by_kind[static_cast<size_t>(kinds.of(c))] |= bits;
    if constexpr (kKanji) masks.kanji |= is_kanji(c) ? bits : 0;
  }
  masks.upper |= by_kind[static_cast<size_t>(CharKind::kUpper)];
  masks.lower |= by_kind[static_cast<size_t>(CharKind::kLower)];
  masks.letter |= by_kind[static_cast<size_t>(CharKind::kLetter)];
  masks.mark |= by_kind[static_cast<size_t>(CharKind::kMark)];
  masks.number |= by_kind[static_cast<size_t>(CharKind::kNumber)];
  masks.space |= by_kind[static_cast<size_t>(CharKind::kSpace)];
  masks.sign |= by_kind[static_cast<size_t>(CharKind::kSign)];
}

}  // namespace headrace
