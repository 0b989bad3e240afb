// Tensors in the floating-point types of checkpoints, as f32.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace headrace {

// F32, F16 or BF16.
bool is_floating(DType dtype);

// bytes: of whole elements of a type that is_floating(); out: as many floats. Loses nothing.
void widen(DType dtype, std::span<const std::byte> bytes, float* out);

}  // namespace headrace
