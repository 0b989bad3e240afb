#include "tensor/gguf_blocks.h"

#include <bit>
#include <cstring>

#include "base/half.h"

namespace headrace {
namespace {

const uint8_t* at(std::span<const std::byte> bytes) { return reinterpret_cast<const uint8_t*>(bytes.data()); }

float half_at(const uint8_t* p) {
  uint16_t half;
  std::memcpy(&half, p, sizeof half);
  return half_to_float(half);
}

uint32_t word_at(const uint8_t* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

float as_float(int value) { return static_cast<float>(value); }

// Calls block(p, y) for each block and the place of its numbers.
template <typename Block>
void each_block(GgufType type, std::span<const std::byte> bytes, float* out, const Block& block) {
  const GgufBlock shape = gguf_block(type);
  const auto count = static_cast<int64_t>(bytes.size()) / shape.bytes;
  for (int64_t i = 0; i < count; ++i) block(at(bytes) + i * shape.bytes, out + i * shape.numbers);
}

// 32 numbers of 4 bits: the low halves of 16 bytes, then the high ones; with a fifth bit where there is one.
template <typename Number>
void nibbles(const uint8_t* q, uint32_t fifth, const Number& number) {
  for (int j = 0; j < 16; ++j) {
    number(j, (q[j] & 15) | static_cast<int>(fifth >> j & 1) << 4);
    number(j + 16, q[j] >> 4 | static_cast<int>(fifth >> (j + 16) & 1) << 4);
  }
}

void q4_0(const uint8_t* p, float* y) {
  const float d = half_at(p);
  nibbles(p + 2, 0, [&](int i, int q) { y[i] = as_float(q - 8) * d; });
}

void q4_1(const uint8_t* p, float* y) {
  const float d = half_at(p), m = half_at(p + 2);
  nibbles(p + 4, 0, [&](int i, int q) { y[i] = as_float(q) * d + m; });
}

void q5_0(const uint8_t* p, float* y) {
  const float d = half_at(p);
  nibbles(p + 6, word_at(p + 2), [&](int i, int q) { y[i] = as_float(q - 16) * d; });
}

void q5_1(const uint8_t* p, float* y) {
  const float d = half_at(p), m = half_at(p + 2);
  nibbles(p + 8, word_at(p + 4), [&](int i, int q) { y[i] = as_float(q) * d + m; });
}

void q8_0(const uint8_t* p, float* y) {
  const float d = half_at(p);
  for (int i = 0; i < 32; ++i) y[i] = as_float(static_cast<int8_t>(p[2 + i])) * d;
}

// Scale and minimum, 6 bits each, of one of eight groups, packed in 12 bytes.
struct GroupScales {
  float scale, minimum;
};
GroupScales k_scales(const uint8_t* packed, int group, float d, float d_minimum) {
  const uint8_t *low = packed, *high = packed + 4, *rest = packed + 8;
  int scale, minimum;
  if (group < 4) {
    scale = low[group] & 63;
    minimum = high[group] & 63;
  } else {
    const int g = group - 4;
    scale = (rest[g] & 15) | low[g] >> 6 << 4;
    minimum = rest[g] >> 4 | high[g] >> 6 << 4;
  }
  return {d * as_float(scale), d_minimum * as_float(minimum)};
}

// Q4_K, and Q5_K with a fifth bit for each number.
void q45_k(const uint8_t* p, bool has_fifth, float* y) {
  const float d = half_at(p), d_minimum = half_at(p + 2);
  const uint8_t* const fifth = p + 16;
  const uint8_t* const q = fifth + (has_fifth ? 32 : 0);
  for (int group = 0; group < 8; ++group) {
    const GroupScales s = k_scales(p + 4, group, d, d_minimum);
    for (int i = 0; i < 32; ++i) {
      const uint8_t pair = q[group / 2 * 32 + i];
      int value = group % 2 ? pair >> 4 : pair & 15;
      if (has_fifth) value |= (fifth[i] >> group & 1) << 4;
      y[group * 32 + i] = s.scale * as_float(value) - s.minimum;
    }
  }
}

void q6_k(const uint8_t* p, float* y) {
  const uint8_t *low = p, *high = p + 128, *scales = p + 192;
  const float d = half_at(p + 208);
  for (int half = 0; half < 2; ++half)
    for (int part = 0; part < 4; ++part)
      for (int i = 0; i < 32; ++i) {
        const uint8_t four = low[half * 64 + part % 2 * 32 + i];
        const int two = high[half * 32 + i] >> (2 * part) & 3;
        const int value = ((part < 2 ? four & 15 : four >> 4) | two << 4) - 32;
        const auto scale = static_cast<int8_t>(scales[half * 8 + part * 2 + i / 16]);
        y[half * 128 + part * 32 + i] = d * as_float(scale) * as_float(value);
      }
}

}  // namespace

std::optional<GgufBlock> gguf_block(uint32_t type) {
  switch (static_cast<GgufType>(type)) {
    case GgufType::kF32:
      return GgufBlock{"F32", 1, 4};
    case GgufType::kF16:
      return GgufBlock{"F16", 1, 2};
    case GgufType::kBF16:
      return GgufBlock{"BF16", 1, 2};
    case GgufType::kQ4_0:
      return GgufBlock{"Q4_0", 32, 18};
    case GgufType::kQ4_1:
      return GgufBlock{"Q4_1", 32, 20};
    case GgufType::kQ5_0:
      return GgufBlock{"Q5_0", 32, 22};
    case GgufType::kQ5_1:
      return GgufBlock{"Q5_1", 32, 24};
    case GgufType::kQ8_0:
      return GgufBlock{"Q8_0", 32, 34};
    case GgufType::kQ4_K:
      return GgufBlock{"Q4_K", 256, 144};
    case GgufType::kQ5_K:
      return GgufBlock{"Q5_K", 256, 176};
    case GgufType::kQ6_K:
      return GgufBlock{"Q6_K", 256, 210};
  }
  return std::nullopt;
}

void dequantize(GgufType type, std::span<const std::byte> bytes, float* out) {
  switch (type) {
    case GgufType::kF32:
      std::memcpy(out, bytes.data(), bytes.size());
      return;
    case GgufType::kF16:
      return each_block(type, bytes, out, [](const uint8_t* p, float* y) { *y = half_at(p); });
    case GgufType::kBF16:
      return each_block(type, bytes, out, [](const uint8_t* p, float* y) {
        *y = std::bit_cast<float>(static_cast<uint32_t>(p[0]) << 16 | static_cast<uint32_t>(p[1]) << 24);
      });
    case GgufType::kQ4_0:
      return each_block(type, bytes, out, q4_0);
    case GgufType::kQ4_1:
      return each_block(type, bytes, out, q4_1);
    case GgufType::kQ5_0:
      return each_block(type, bytes, out, q5_0);
    case GgufType::kQ5_1:
      return each_block(type, bytes, out, q5_1);
    case GgufType::kQ8_0:
      return each_block(type, bytes, out, q8_0);
    case GgufType::kQ4_K:
      return each_block(type, bytes, out, [](const uint8_t* p, float* y) { q45_k(p, false, y); });
    case GgufType::kQ5_K:
      return each_block(type, bytes, out, [](const uint8_t* p, float* y) { q45_k(p, true, y); });
    case GgufType::kQ6_K:
      return each_block(type, bytes, out, q6_k);
  }
}

int group_bits(GgufType type) {
  if (type == GgufType::kQ4_0 || type == GgufType::kQ4_1) return 4;
  return type == GgufType::kQ8_0 ? 8 : 0;
}

void read_groups(GgufType type, std::span<const std::byte> bytes, uint8_t* q, float* scale, float* offset) {
  const GgufBlock shape = gguf_block(type);
  const auto count = static_cast<int64_t>(bytes.size()) / shape.bytes;
  for (int64_t g = 0; g < count; ++g, q += 32) {
    const uint8_t* const p = at(bytes) + g * shape.bytes;
    scale[g] = half_at(p);
    if (type == GgufType::kQ8_0) {
      for (int i = 0; i < 32; ++i) q[i] = static_cast<uint8_t>(static_cast<int8_t>(p[2 + i]) + 128);
      continue;
    }
    // Eight times an f16 number is one, unless it is beyond the largest; -8 d stands for it then as well.
    offset[g] = type == GgufType::kQ4_1 ? half_at(p + 2) : -8.0f * scale[g];
    nibbles(p + (type == GgufType::kQ4_1 ? 4 : 2), 0,
            [&](int i, int value) { q[i] = static_cast<uint8_t>(value); });
  }
}

}  // namespace headrace
