#include "tensor/widen.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/half.h"

namespace headrace {
namespace {

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
    widen_halves(bytes, out, half_to_float);
  else
    widen_halves(bytes, out, [](uint16_t half) { return std::bit_cast<float>(uint32_t{half} << 16); });
}

}  // namespace headrace
