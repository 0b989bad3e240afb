// The pieces of words met lately, so that common words skip the trie.
//
// Direct-mapped: a word has one slot, and the latest word in a slot stays. A word of up to 16 bytes is its
// own key, held in two registers; it has at most four pieces here. Belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace headrace {

// The first bytes of a word, padded with zeros.
struct WordKey {
  static constexpr size_t kMaxBytes = 16;

  uint64_t low;
  uint64_t high;
  size_t size;          // at most kMaxBytes
  bool is_raw = false;  // not yet normalized: apart from the normalized word of the same spelling
};

// word: 1 to 16 bytes.
inline WordKey word_key(std::string_view word, bool is_raw = false) {
  uint64_t halves[2] = {0, 0};
  std::memcpy(halves, word.data(), word.size());
  return {halves[0], halves[1], word.size(), is_raw};
}

// The ASCII letters and digits that the first 16 of `left` bytes begin with, in lower case if asked; its size
// is 16 also when more of them follow.
inline WordKey ascii_word_key(const char* text, size_t left, bool lowercase) {
  alignas(16) char block[16];
  if (left < sizeof block) {
    std::memset(block, 0, sizeof block);
    std::memcpy(block, text, left);
    text = block;
  }
#if defined(__SSE2__)
  const auto in_range = [](__m128i bytes, char first, char count) {
    const __m128i from_first = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
    return _mm_cmpeq_epi8(_mm_min_epu8(from_first, _mm_set1_epi8(static_cast<char>(count - 1))), from_first);
  };
  alignas(16) static constexpr uint8_t kKeep[32] = {255, 255, 255, 255, 255, 255, 255, 255,
                                                    255, 255, 255, 255, 255, 255, 255, 255};
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text));
  const __m128i small = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
  const __m128i is_letter = in_range(small, 'a', 26);
  const __m128i is_word = _mm_or_si128(is_letter, in_range(bytes, '0', 10));
  const auto stops = static_cast<uint32_t>(_mm_movemask_epi8(is_word)) ^ 0xFFFF;
  const auto size = static_cast<size_t>(__builtin_ctz(stops | 0x10000));
  const __m128i chosen =
      lowercase ? _mm_or_si128(bytes, _mm_and_si128(is_letter, _mm_set1_epi8(0x20))) : bytes;
  const __m128i kept =
      _mm_and_si128(chosen, _mm_loadu_si128(reinterpret_cast<const __m128i*>(kKeep + 16 - size)));
  return {static_cast<uint64_t>(_mm_cvtsi128_si64(kept)),
          static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_unpackhi_epi64(kept, kept))), size};
#else
  uint64_t halves[2] = {0, 0};
  size_t size = 0;
  for (; size < WordKey::kMaxBytes; ++size) {
    char c = text[size];
    const bool is_capital = c >= 'A' && c <= 'Z';
    if (!is_capital && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9')) break;
    if (is_capital && lowercase) c = static_cast<char>(c | 0x20);
    std::memcpy(reinterpret_cast<char*>(halves) + size, &c, 1);
  }
  return {halves[0], halves[1], size};
#endif
}

class WordCache {
 public:
  static constexpr size_t kMaxPieces = 4;

  WordCache() : slots_(kNumSlots) {}

  // Writes the pieces of a word to ids, which has room for kMaxPieces, and returns their number; 0 when the
  // word is not here. key.size is at least 1.
  size_t find(const WordKey& key, int32_t* ids) const {
    const Slot& slot = slots_[slot_of(key)];
    if (slot.low != key.low || slot.high != key.high || slot.ids[0] >> 27 != tag_of(key)) return 0;
    std::memcpy(ids, slot.ids, sizeof slot.ids);
    ids[0] &= kIdMask;
    return slot.ids[0] >> 24 & 7;
  }

  // Ids below 2^24. More than kMaxPieces are not kept, nor is none.
  void insert(const WordKey& key, const int32_t* ids, size_t num_ids) {
    if (num_ids == 0 || num_ids > kMaxPieces) return;
    Slot& slot = slots_[slot_of(key)];
    slot.low = key.low;
    slot.high = key.high;
    std::memcpy(slot.ids, ids, num_ids * sizeof *ids);
    slot.ids[0] |= static_cast<uint32_t>(num_ids << 24 | tag_of(key) << 27);
  }

 private:
  static constexpr int kSlotBits = 14;  // 512 KiB: within the second-level cache
  static constexpr size_t kNumSlots = size_t{1} << kSlotBits;
  static constexpr int32_t kIdMask = (1 << 24) - 1;

  struct Slot {
    uint64_t low = 0;
    uint64_t high = 0;
    uint32_t ids[kMaxPieces] = {};  // bits 24 to 26 of the first: how many; bits 27 to 31: tag_of(key)
  };

  static uint64_t tag_of(const WordKey& key) { return (key.size - 1) | uint64_t{key.is_raw} << 4; }

  static size_t slot_of(const WordKey& key) {
    const uint64_t mixed = (key.low ^ (key.high * 0x9E3779B97F4A7C15)) * 0xD6E8FEB86659FD93;
    return static_cast<size_t>(mixed >> (64 - kSlotBits));
  }

  std::vector<Slot> slots_;
};

}  // namespace headrace
