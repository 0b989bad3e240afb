// Blocks of keys and values: how a token's are stored, and how they are read as f32. bf16 is widened where it
// is multiplied; a block of int8 is read panel by panel into a few kilobytes that stay in L1, where the f32
// tiles of attention find them. A long text is read from memory at the width it is stored in.
#pragma once

#include "kernels/cpu/attention.inc.h"
#include "kernels/cpu/dot.h"

namespace headrace {
namespace {

static_assert(kCacheBlock % kPanelColumns == 0, "a block is whole panels");

int64_t kv_bytes(KvType type, int64_t head_dim) {
  const int64_t numbers = 2 * kCacheBlock * head_dim;
  if (type == KvType::kF32) return numbers * 4;
  if (type == KvType::kBf16) return numbers * 2;
  return numbers + 2 * kCacheBlock * 4;
}

// Bytes before a block's values.
inline int64_t values_begin(KvType type, int64_t head_dim) {
  return kCacheBlock * head_dim * (type == KvType::kF32 ? 4 : type == KvType::kBf16 ? 2 : 1);
}

// kLanes numbers as they are stored.
inline Vec load_int8(const int8_t* p) {
#if defined(__AVX512F__)
  return to_float(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
  return to_float(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#endif
}
inline float bf16_number(uint16_t a) {
  const uint32_t bits = static_cast<uint32_t>(a) << 16;
  float number;
  __builtin_memcpy(&number, &bits, sizeof number);
  return number;
}

// Of an int8 block: [kCacheBlock] of its keys, then of its values. At a multiple of four bytes.
inline float* kv_scales(char* block, int64_t head_dim) {
  return reinterpret_cast<float*>(block + 2 * kCacheBlock * head_dim);
}
inline const float* kv_scales(const char* block, int64_t head_dim) {
  return reinterpret_cast<const float*>(block + 2 * kCacheBlock * head_dim);
}

// A row's largest number, below which none is scaled; NaN where one is not finite.
inline float scaled_by(const float* x, int64_t n) {
  Vec top = splat(0.0f), sound = top;
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec value = load_first(x + i, least(kLanes, n - i));
    top = larger(absolute(value), top);
    sound = mul_add(value, splat(0.0f), sound);
  }
  const float largest = largest_lane(top);
  return (largest < kLeastScaled ? 0.0f : largest) + sum_lanes(sound);
}

// x to numbers `stride` apart. Returns what undoes it.
inline float store_int8(const float* x, int64_t n, int8_t* to, int64_t stride) {
  const float largest = scaled_by(x, n);
  const Vec factor = splat(largest > 0 ? 127.0f / largest : 0.0f);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t count = least(kLanes, n - i);
    const IntVec q = to_int(mul(load_first(x + i, count), factor));
    if (stride == 1) {
      store_bytes(to + i, q, count);
      continue;
    }
    int8_t lanes[kLanes];
    store_bytes(lanes, q, count);
    for (int64_t j = 0; j < count; ++j) to[(i + j) * stride] = lanes[j];
  }
  return largest / 127.0f;
}

void store_key_value(KvType type, const float* key, const float* value, int64_t head_dim, int64_t slot,
                     void* block) {
  const int64_t key_at = slot / kPanelColumns * kPanelColumns * head_dim + slot % kPanelColumns;
  const int64_t value_at = kCacheBlock * head_dim + slot * head_dim;
  if (type == KvType::kF32) {
    auto* const numbers = static_cast<float*>(block);
    for (int64_t d = 0; d < head_dim; ++d) numbers[key_at + d * kPanelColumns] = key[d];
    __builtin_memcpy(numbers + value_at, value, static_cast<unsigned long>(head_dim) * sizeof(float));
  } else if (type == KvType::kBf16) {
    auto* const numbers = static_cast<uint16_t*>(block);
    for (int64_t d = 0; d < head_dim; ++d) {
      numbers[key_at + d * kPanelColumns] = to_bf16(key[d]);
      numbers[value_at + d] = to_bf16(value[d]);
    }
  } else {
    auto* const numbers = static_cast<int8_t*>(block);
    float* const scales = kv_scales(static_cast<char*>(block), head_dim);
    scales[slot] = store_int8(key, head_dim, numbers + key_at, kPanelColumns);
    scales[kCacheBlock + slot] = store_int8(value, head_dim, numbers + value_at, 1);
  }
}

// Where the keys of the panel that begins with `slot` are, [D][kPanelColumns].
template <typename Number>
inline const Number* keys_of(const char* block, int64_t slot, int64_t head_dim) {
  return reinterpret_cast<const Number*>(block) + slot * head_dim;
}

// Where number d of a block's values begins, row stride D.
template <typename Number>
inline const Number* values_of(const char* block, int64_t d, int64_t head_dim) {
  return reinterpret_cast<const Number*>(block) + kCacheBlock * head_dim + d;
}

// The keys of a panel of int8 to numbers [D][kPanelColumns].
inline void widen_keys(const char* block, int64_t slot, int64_t head_dim, float* numbers) {
  const int8_t* keys = keys_of<int8_t>(block, slot, head_dim);
  const float* const scales = kv_scales(block, head_dim) + slot;
  Vec scale[kPanelVectors];
  for (int v = 0; v < kPanelVectors; ++v) scale[v] = load(scales + v * kLanes);
  for (int64_t d = 0; d < head_dim; ++d, keys += kPanelColumns)
    for (int v = 0; v < kPanelVectors; ++v)
      store(numbers + d * kPanelColumns + v * kLanes, mul(load_int8(keys + v * kLanes), scale[v]));
}

// Columns [d, d + kVectors kLanes) of the first `count` values of a block of int8 to numbers, row by row.
template <int kVectors>
inline void widen_values(const char* block, int64_t count, int64_t d, int64_t head_dim, float* numbers) {
  const int8_t* values = values_of<int8_t>(block, d, head_dim);
  const float* const scales = kv_scales(block, head_dim) + kCacheBlock;
  for (int64_t t = 0; t < count; ++t, values += head_dim, numbers += kVectors * kLanes) {
    const Vec scale = splat(scales[t]);
    for (int v = 0; v < kVectors; ++v)
      store(numbers + v * kLanes, mul(load_int8(values + v * kLanes), scale));
  }
}

// One number of the value in `slot`.
inline float value_at(KvType type, const char* block, int64_t slot, int64_t d, int64_t head_dim) {
  const int64_t at = kCacheBlock * head_dim + slot * head_dim + d;
  if (type == KvType::kF32) return reinterpret_cast<const float*>(block)[at];
  if (type == KvType::kBf16) return bf16_number(reinterpret_cast<const uint16_t*>(block)[at]);
  return static_cast<float>(reinterpret_cast<const int8_t*>(block)[at]) *
         kv_scales(block, head_dim)[kCacheBlock + slot];
}

}  // namespace
}  // namespace headrace
