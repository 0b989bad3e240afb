// IEEE 754 binary16, without instructions for it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace headrace {

// Exact.
inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  uint32_t exponent = half >> 10 & 0x1F, fraction = half & 0x3FF;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000u | fraction << 13);
  if (exponent == 0) {
    // Subnormal: fraction * 2^-24, exact in f32.
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

// The f16 number nearest to x, ties to even, as f32; beyond the largest, 65504, that one.
inline float to_half_and_back(float x) {
  if (std::isnan(x)) return x;
  const float size = std::fabs(x);
  if (size >= 65504.0f) return std::copysign(65504.0f, x);
  // Adding and taking away a number whose last bit is f16's rounds at that bit: 10 below the leading one, at
  // least 2^-24.
  int exponent;
  std::frexp(size, &exponent);
  const float unit = std::ldexp(1.0f, std::max(exponent - 11, -24));
  return std::nearbyint(x / unit) * unit;
}

}  // namespace headrace
