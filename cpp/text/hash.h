// A hash of short byte strings, for tables whose keys come from files and requests.
//
// Two multiplications to 128 bits per 16 bytes, each folded to 64. Seeded once per process, so that nobody
// can prepare a vocabulary or a text whose strings all fall into one slot.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <string_view>

namespace headrace {

inline uint64_t hash_seed() {
  static const uint64_t seed = [] {
    std::random_device device;
    return uint64_t{device()} << 32 | device();
  }();
  return seed;
}

inline uint64_t hash_fold(uint64_t a, uint64_t b) {
  __extension__ typedef unsigned __int128 Wide;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// A hash of two words.
inline uint64_t hash_words(uint64_t low, uint64_t high, uint64_t seed) {
  return hash_fold(low ^ seed ^ 0x9E3779B97F4A7C15, high ^ 0xD6E8FEB86659FD93);
}

inline uint64_t hash_bytes(std::string_view bytes, uint64_t seed) {
  const auto word = [](const char* at) {
    uint64_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  const auto half = [](const char* at) {
    uint32_t value;
    std::memcpy(&value, at, sizeof value);
    return uint64_t{value};
  };
  const char* at = bytes.data();
  size_t left = bytes.size();
  uint64_t hash = seed ^ left;
  for (; left > 16; at += 16, left -= 16) hash = hash_words(word(at), word(at + 8), hash);
  if (left >= 8) return hash_words(word(at), word(at + left - 8), hash);
  if (left >= 4) return hash_words(half(at), half(at + left - 4), hash);
  uint64_t low = 0;
  if (left > 0) {
    const auto byte = [&](size_t i) { return uint64_t{static_cast<uint8_t>(at[i])}; };
    low = byte(0) | byte(left / 2) << 8 | byte(left - 1) << 16;
  }
  return hash_words(low, 0, hash);
}

}  // namespace headrace
