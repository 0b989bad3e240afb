// In how many bits a model's matrices are multiplied.
#pragma once

#include <string>

#include "kernels/kernels.h"

namespace headrace {

enum class Precision { kF32, kBf16, kInt8 };

// "auto": bf16 where the table has the processor's own instructions for it, else f32. Throws
// Error(kInvalidArgument) for names other than auto, f32, bf16 and int8.
Precision precision_by_name(const std::string& name, const Kernels& kernels);

const char* precision_name(Precision precision);

// The functions of a precision other than f32; null for that.
const NarrowKernels* narrow_kernels(const Kernels& kernels, Precision precision);

}  // namespace headrace
