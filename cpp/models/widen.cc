#include "models/widen.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace headrace {
namespace {

// IEEE 754 binary16 -> binary32; exact.
float widen_half(uint16_t half) {
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

template <typename Widen>
void widen_halves(std::span<const std::byte> bytes, float* out, const Widen& widen_one) {
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    uint16_t half;
    std::memcpy(&half, bytes.data() + i, 2);
    *out++ = widen_one(half);
  }
}

}  // namespace

bool is_floating(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

void widen(DType dtype, std::span<const std::byte> bytes, float* out) {
  if (dtype == DType::kF32)
    std::memcpy(out, bytes.data(), bytes.size());
  else if (dtype == DType::kF16)
    widen_halves(bytes, out, widen_half);
  else
    widen_halves(bytes, out, [](uint16_t half) { return std::bit_cast<float>(uint32_t{half} << 16); });
}

}  // namespace headrace
