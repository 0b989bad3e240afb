#include "kernels/reference_decoder.h"

#include <algorithm>
#include <cmath>

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

void store_key_value(const float* key, const float* value, int64_t head_dim, int64_t slot, float* block) {
  for (int64_t d = 0; d < head_dim; ++d) {
    block[slot / kPanel * kPanel * head_dim + d * kPanel + slot % kPanel] = key[d];
    block[kCacheBlock * head_dim + slot * head_dim + d] = value[d];
  }
}

// Scores are made anew wherever they are wanted.
int64_t paged_attention_scratch(int64_t, int64_t) { return 0; }

void paged_attention(const PagedAttention& a) {
  for (int64_t row = 0; row < a.rows * a.group; ++row) {
    const int64_t token = row / a.group, head = row % a.group, d = a.head_dim;
    const float* q = a.q + token * a.ldq + head * d;
    float* out = a.out + token * a.ldo + head * d;
    const int64_t last = a.position + token;
    const int64_t first = a.window > 0 ? std::max<int64_t>(0, last - a.window + 1) : 0;
    const auto block = [&](int64_t key) { return a.cache + a.blocks[key / kCacheBlock] * a.block_floats; };
    const auto score = [&](int64_t key) {
      const int64_t slot = key % kCacheBlock;
      const float* k = block(key) + slot / kPanel * kPanel * d + slot % kPanel;
      double dot = 0;
      for (int64_t i = 0; i < d; ++i) dot += static_cast<double>(q[i]) * k[i * kPanel];
      dot *= a.scale;
      return a.soft_cap > 0 ? a.soft_cap * std::tanh(dot / a.soft_cap) : dot;
    };
    double largest = -HUGE_VAL, sum = 0;
    for (int64_t key = first; key <= last; ++key) largest = std::fmax(largest, score(key));
    for (int64_t key = first; key <= last; ++key) sum += std::exp(score(key) - largest);
    for (int64_t i = 0; i < d; ++i) {
      double value = 0;
      for (int64_t key = first; key <= last; ++key)
        value +=
            std::exp(score(key) - largest) / sum * block(key)[kCacheBlock * d + key % kCacheBlock * d + i];
      out[i] = static_cast<float>(value);
    }
  }
}

}  // namespace headrace::reference
