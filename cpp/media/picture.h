// A picture in memory: rows of RGB pixels, one byte a channel.
#pragma once

#include <cstdint>

namespace headrace {

struct Picture {
  const uint8_t* pixels = nullptr;  // [height, width, 3]
  int64_t width = 0;
  int64_t height = 0;
};

// Larger sides are refused before anything is computed from them: a row's bytes and a weight's place fit in
// 32 bits.
inline constexpr int64_t kMaxSide = 1 << 20;

}  // namespace headrace
