#include "kernels/reference_decoder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/reference_grouped.h"

namespace headrace::reference {

void rms_norm(const float* x, const float* gain, float eps, int64_t rows, int64_t c, float* y) {
  for (int64_t row = 0; row < rows; ++row, x += c, y += c) {
    double squares = 0;
    for (int64_t i = 0; i < c; ++i) squares += static_cast<double>(x[i]) * x[i];
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(c) + eps);
    for (int64_t i = 0; i < c; ++i) y[i] = static_cast<float>(x[i] * scale * gain[i]);
  }
}

void rotate(float* x, int64_t heads, int64_t head_dim, int64_t half, const float* cosine, const float* sine) {
  for (int64_t head = 0; head < heads; ++head, x += head_dim)
    for (int64_t i = 0; i < half; ++i) {
      const double a = x[i], b = x[half + i];
      x[i] = static_cast<float>(a * cosine[i] - b * sine[i]);
      x[half + i] = static_cast<float>(b * cosine[i] + a * sine[i]);
    }
}

void gate(const float* x, int64_t rows, int64_t n, Activation activation, float* y) {
  for (int64_t row = 0; row < rows; ++row, x += 2 * n, y += n)
    for (int64_t i = 0; i < n; ++i) y[i] = activate_one(x[i], activation) * x[n + i];
}

void activate_row(const float* x, int64_t n, Activation activation, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = activate_one(x[i], activation);
}

int64_t kv_bytes(KvType type, int64_t head_dim) {
  const int64_t numbers = 2 * kCacheBlock * head_dim;
  if (type == KvType::kF32) return numbers * 4;
  if (type == KvType::kBf16) return numbers * 2;
  return numbers + 2 * kCacheBlock * 4;
}

namespace {

// Where a number of a block is.
int64_t key_at(int64_t slot, int64_t d, int64_t head_dim) {
  return slot / kPanel * kPanel * head_dim + d * kPanel + slot % kPanel;
}
int64_t value_at(int64_t slot, int64_t d, int64_t head_dim) {
  return kCacheBlock * head_dim + slot * head_dim + d;
}
// Of an int8 block, the first of its scales.
int64_t scales_at(int64_t head_dim) { return 2 * kCacheBlock * head_dim; }

// A row's largest number, below which none is scaled; NaN where one is not finite.
float largest_of(const float* x, int64_t n) {
  float largest = 0, sound = 0;
  for (int64_t i = 0; i < n; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
    sound += x[i] * 0.0f;
  }
  return (largest < kLeastScaled ? 0.0f : largest) + sound;
}

int8_t to_int8(float x, float largest) {
  if (!(largest > 0)) return 0;
  return static_cast<int8_t>(std::nearbyint(x * (127.0f / largest)));
}

uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// Number `at` of a block, of the token in `slot`; values come second.
float stored(const PagedAttention& a, const char* block, int64_t at, int64_t slot, bool is_value) {
  if (a.type == KvType::kF32) return reinterpret_cast<const float*>(block)[at];
  if (a.type == KvType::kBf16)
    return std::bit_cast<float>(uint32_t{reinterpret_cast<const uint16_t*>(block)[at]} << 16);
  float scale;
  std::memcpy(&scale, block + scales_at(a.head_dim) + (is_value * kCacheBlock + slot) * 4, sizeof scale);
  return static_cast<float>(reinterpret_cast<const int8_t*>(block)[at]) * scale;
}

}  // namespace

void store_key_value(KvType type, const float* key, const float* value, int64_t head_dim, int64_t slot,
                     void* block) {
  for (const bool is_value : {false, true}) {
    const float* const x = is_value ? value : key;
    const float largest = largest_of(x, head_dim), scale = largest / 127.0f;
    for (int64_t d = 0; d < head_dim; ++d) {
      const int64_t at = is_value ? value_at(slot, d, head_dim) : key_at(slot, d, head_dim);
      if (type == KvType::kF32)
        static_cast<float*>(block)[at] = x[d];
      else if (type == KvType::kBf16)
        static_cast<uint16_t*>(block)[at] = to_bf16(x[d]);
      else
        static_cast<int8_t*>(block)[at] = to_int8(x[d], largest);
    }
    if (type == KvType::kInt8)
      std::memcpy(static_cast<char*>(block) + scales_at(head_dim) + (is_value * kCacheBlock + slot) * 4,
                  &scale, sizeof scale);
  }
}

// No scratch: scores are made anew wherever they are wanted, once for kSumsAtOnce numbers of a row of out.
constexpr int64_t kSumsAtOnce = 64;

int64_t paged_attention_scratch(int64_t, int64_t) { return 0; }

void paged_attention(const PagedAttention& a) {
  for (int64_t row = 0; row < a.rows * a.group; ++row) {
    const int64_t token = row / a.group, head = row % a.group, d = a.head_dim;
    const float* q = a.q + token * a.ldq + head * d;
    float* out = a.out + token * a.ldo + head * d;
    const int64_t last = a.position + token;
    const int64_t first = a.window > 0 ? std::max<int64_t>(0, last - a.window + 1) : 0;
    const auto block = [&](int64_t key) {
      return static_cast<const char*>(a.cache) + a.blocks[key / kCacheBlock] * a.block_bytes;
    };
    const auto score = [&](int64_t key) {
      const int64_t slot = key % kCacheBlock;
      double dot = 0;
      for (int64_t i = 0; i < d; ++i)
        dot += static_cast<double>(q[i]) * stored(a, block(key), key_at(slot, i, d), slot, false);
      dot *= a.scale;
      return a.soft_cap > 0 ? a.soft_cap * std::tanh(dot / a.soft_cap) : dot;
    };
    double largest = -HUGE_VAL, sum = 0;
    for (int64_t key = first; key <= last; ++key) largest = std::fmax(largest, score(key));
    for (int64_t key = first; key <= last; ++key) sum += std::exp(score(key) - largest);
    for (int64_t begin = 0; begin < d; begin += kSumsAtOnce) {
      const int64_t end = std::min(d, begin + kSumsAtOnce);
      double sums[kSumsAtOnce] = {};
      for (int64_t key = first; key <= last; ++key) {
        const double weight = std::exp(score(key) - largest) / sum;
        for (int64_t i = begin; i < end; ++i)
          sums[i - begin] +=
              weight * stored(a, block(key), value_at(key % kCacheBlock, i, d), key % kCacheBlock, true);
      }
      for (int64_t i = begin; i < end; ++i) out[i] = static_cast<float>(sums[i - begin]);
    }
  }
}

}  // namespace headrace::reference
