// The types of numbers that GGUF tensors hold: floats, and blocks of 32 or 256 numbers with scales.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace headrace {

// By their numbers in the file.
enum class GgufType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};

struct GgufBlock {
  const char* name;
  int64_t numbers;  // in one block
  int64_t bytes;
};

// Nothing for a number that is none of GgufType's.
std::optional<GgufBlock> gguf_block(uint32_t type);
inline GgufBlock gguf_block(GgufType type) { return *gguf_block(static_cast<uint32_t>(type)); }

// Whole blocks to f32, exactly as the format's own software does it. out: as many numbers as the blocks hold.
void dequantize(GgufType type, std::span<const std::byte> blocks, float* out);

// 4 or 8 for types whose blocks are groups of 32 numbers with a scale and an offset that f16 holds.
int group_bits(GgufType type);
// The blocks of such a type: w = scale q + offset (4 bits), or scale (q - 128) (8 bits; offset is not used).
void read_groups(GgufType type, std::span<const std::byte> blocks, uint8_t* q, float* scale, float* offset);

}  // namespace headrace
