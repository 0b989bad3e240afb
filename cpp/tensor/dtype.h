// The element types a weight file may hold, by the names that safetensors gives them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace headrace {

enum class DType : uint8_t {
  kBool,
  kF4,      // two to a byte
  kF6E2M3,  // four to three bytes
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,  // complex: two f32
  kF64,
  kI64,
  kU64,
};

// "F32", "BF16", ...
const char* dtype_name(DType dtype);
// The inverse; nothing for a name that is not in the list.
std::optional<DType> dtype_from_name(std::string_view name);
// Bits of one element: 4, 6, 8, 16, 32 or 64.
int64_t dtype_bits(DType dtype);

}  // namespace headrace
