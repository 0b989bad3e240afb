// In how many bits a model's matrices are multiplied.
#pragma once

#include <optional>
#include <string>

#include "kernels/kernels.h"

namespace headrace {

// kQ8, kQ4: weights of 8 and 4 bits in groups, see GroupedWeights.
enum class Precision { kF32, kBf16, kInt8, kQ8, kQ4 };

// "auto": bf16 where the table has the processor's own instructions for it, else f32. Throws
// Error(kInvalidArgument) for names other than auto, f32, bf16 and int8.
Precision precision_by_name(const std::string& name, const Kernels& kernels);

// The same for language models, which also know q8 and q4. "auto": bf16 where the table keeps its weights in
// half the bytes, whatever instructions multiply them, since a token's time is that of reading them:
// SmolLM2-135M writes 1.6 to 1.7 times as many tokens a second as in f32 on avx2 and avx512_vnni.
Precision language_precision_by_name(const std::string& name, const Kernels& kernels);

// "f32", "bf16" and "int8"; none for "auto". Throws Error(kInvalidArgument) for other names.
std::optional<KvType> kv_type_by_name(const std::string& name);
const char* kv_type_name(KvType type);

// 8 or 4 where weights are in groups, else 0.
int weight_group_bits(Precision precision);

const char* precision_name(Precision precision);

// The functions of a precision other than f32; null for that.
const NarrowKernels* narrow_kernels(const Kernels& kernels, Precision precision);

}  // namespace headrace
