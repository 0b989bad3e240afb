// The reference table: plain loops with double accumulators. The oracle of every other table, and what runs
// on processors that have none of theirs.
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/reference_decoder.h"
#include "kernels/reference_grouped.h"
#include "kernels/reference_pixels.h"

namespace headrace {
namespace {

using reference::activate_one;
using reference::kPanel;

void pack_weights(const float* w, int64_t n, int64_t k, float* packed) {
  for (int64_t panel = 0; panel < n; panel += kPanel)
    for (int64_t i = 0; i < k; ++i)
      for (int64_t c = 0; c < kPanel; ++c) *packed++ = panel + c < n ? w[(panel + c) * k + i] : 0.0f;
}

void gemm(const Gemm& g, int64_t row_begin, int64_t row_end, int64_t col_begin, int64_t col_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    for (int64_t col = col_begin; col < col_end; ++col) {
      const float* x = g.x + row * g.ldx;
      const float* w = g.packed_w + col / kPanel * kPanel * g.k + col % kPanel;
      double sum = 0;
      for (int64_t i = 0; i < g.k; ++i) sum += static_cast<double>(x[i]) * w[i * kPanel];
      if (g.bias) sum += g.bias[col];
      auto value = static_cast<float>(sum);
      value = activate_one(value, g.activation);
      if (g.residual) value += g.residual[row * g.ldr + col];
      g.y[row * g.ldy + col] = value;
    }
  }
}

// bf16 to the nearest, ties to even, as f32: what is stored is what is multiplied.
float as_bf16(float x) {
  if (std::isnan(x)) return x;
  const auto bits = std::bit_cast<uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000u);
}

// Rows and weights of both precisions are floats here, row-major: [K] elements, and a scale behind them.
int64_t narrow_row_bytes(int64_t k) { return (k + 1) * static_cast<int64_t>(sizeof(float)); }
int64_t narrow_packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * narrow_row_bytes(k);
}

void encode_bf16(const float* x, int64_t rows, int64_t k, const float*, void* encoded) {
  auto* out = static_cast<float*>(encoded);
  for (int64_t row = 0; row < rows; ++row, x += k) {
    for (int64_t i = 0; i < k; ++i) *out++ = as_bf16(x[i]);
    *out++ = 1.0f;
  }
}

void encode_int8(const float* x, int64_t rows, int64_t k, const float* factor, void* encoded) {
  auto* out = static_cast<float*>(encoded);
  for (int64_t row = 0; row < rows; ++row, x += k) {
    const auto scaled = [&](int64_t i) { return factor ? x[i] * factor[i] : x[i]; };
    float largest = 0, finite = 0;
    for (int64_t i = 0; i < k; ++i) {
      largest = std::fmax(largest, std::fabs(scaled(i)));
      finite += x[i] * 0.0f;
    }
    const float scale = largest * (1.0f / 127.0f) + finite;
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    for (int64_t i = 0; i < k; ++i) *out++ = std::rint(scaled(i) * inverse);
    *out++ = scale;
  }
}

void pack_bf16(const float* w, int64_t n, int64_t k, void* packed) { encode_bf16(w, n, k, nullptr, packed); }
void pack_int8(const float* w, int64_t n, int64_t k, void* packed) { encode_int8(w, n, k, nullptr, packed); }

void narrow_gemm(const NarrowGemm& g, int64_t row_begin, int64_t row_end, int64_t col_begin,
                 int64_t col_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    for (int64_t col = col_begin; col < col_end; ++col) {
      const float* x = static_cast<const float*>(g.x) + row * (g.k + 1);
      const float* w = static_cast<const float*>(g.packed_w) + col * (g.k + 1);
      double sum = 0;  // of integers exact far beyond any K
      for (int64_t i = 0; i < g.k; ++i) sum += static_cast<double>(x[i]) * w[i];
      auto value = static_cast<float>(sum) * (w[g.k] * x[g.k]) + (g.bias ? g.bias[col] : 0.0f);
      value = activate_one(value, g.activation);
      if (g.residual) value += g.residual[row * g.ldr + col];
      if (g.y) g.y[row * g.ldy + col] = value;
      if (g.bf16_y) {
        auto* out = static_cast<float*>(g.bf16_y) + row * (g.n + 1);
        out[col] = as_bf16(value);
        out[g.n] = 1.0f;
      }
    }
  }
}

void layer_norm(const float* x, const float* gain, const float* bias, float eps, int64_t rows, int64_t c,
                float* y) {
  for (int64_t row = 0; row < rows; ++row, x += c, y += c) {
    double sum = 0;
    for (int64_t i = 0; i < c; ++i) sum += x[i];
    const double mean = sum / static_cast<double>(c);
    double squares = 0;
    for (int64_t i = 0; i < c; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(c) + eps);
    for (int64_t i = 0; i < c; ++i) y[i] = static_cast<float>((x[i] - mean) * scale * gain[i] + bias[i]);
  }
}

void softmax(float* x, int64_t n) {
  float largest = x[0];
  for (int64_t i = 1; i < n; ++i) largest = std::fmax(largest, x[i]);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) - largest);
  for (int64_t i = 0; i < n; ++i)
    x[i] = static_cast<float>(std::exp(static_cast<double>(x[i]) - largest) / sum);
}

void gelu(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = activate_one(x[i], Activation::kGelu);
}

int64_t attention_scratch(int64_t length, int64_t) { return length; }

void attention(const Attention& a) {
  for (int64_t row = 0; row < a.queries; ++row) {
    const int64_t i = a.first_query + row;
    const int64_t begin = a.window > 0 ? std::max<int64_t>(0, i - a.window) : 0;
    const int64_t end = a.window > 0 ? std::min(a.length, i + a.window + 1) : a.length;
    for (int64_t j = begin; j < end; ++j) {
      double dot = 0;
      for (int64_t d = 0; d < a.head_dim; ++d)
        dot += static_cast<double>(a.q[row * a.ld + d]) * a.k[j * a.ld + d];
      a.scratch[j] = static_cast<float>(dot * a.scale + (a.bias ? a.bias[row * a.bias_stride + j] : 0.0f));
    }
    softmax(a.scratch + begin, end - begin);
    for (int64_t d = 0; d < a.head_dim; ++d) {
      double sum = 0;
      for (int64_t j = begin; j < end; ++j) sum += static_cast<double>(a.scratch[j]) * a.v[j * a.ld + d];
      a.out[row * a.ldo + d] = static_cast<float>(sum);
    }
  }
}

void mean_pool(const float* x, int64_t rows, int64_t c, float* y) {
  for (int64_t i = 0; i < c; ++i) {
    double sum = 0;
    for (int64_t row = 0; row < rows; ++row) sum += x[row * c + i];
    y[i] = static_cast<float>(sum / static_cast<double>(rows));
  }
}

void l2_normalize(const float* x, int64_t c, float* y) {
  double squares = 0;
  for (int64_t i = 0; i < c; ++i) squares += static_cast<double>(x[i]) * x[i];
  const double scale = 1.0 / std::fmax(std::sqrt(squares), 1e-12);
  for (int64_t i = 0; i < c; ++i) y[i] = static_cast<float>(x[i] * scale);
}

void add3(const float* a, const float* b, const float* d, int64_t c, float* y) {
  for (int64_t i = 0; i < c; ++i) y[i] = a[i] + b[i] + d[i];
}

int64_t peak_flops(int64_t rounds) {
  volatile double sink = 0;
  double sums[8] = {};
  for (int64_t i = 0; i < rounds; ++i)
    for (double& sum : sums) sum = sum * 0.999 + 1e-3;
  for (double sum : sums) sink = sink + sum;
  return rounds * 16;
}

}  // namespace

extern const Kernels kernels_reference;
constinit const Kernels kernels_reference = {
    .name = "reference",
    .panel_columns = kPanel,
    .pack_weights = pack_weights,
    .row_tile = 1,
    .gemm = gemm,
    .layer_norm = layer_norm,
    .softmax = softmax,
    .gelu = gelu,
    .attention_scratch = attention_scratch,
    .attention = attention,
    .narrow_attention = attention,
    .mean_pool = mean_pool,
    .l2_normalize = l2_normalize,
    .add3 = add3,
    .peak_flops = peak_flops,
    .bf16 = {narrow_packed_bytes, pack_bf16, nullptr, narrow_row_bytes, encode_bf16, 1, narrow_gemm,
             peak_flops},
    .int8 = {narrow_packed_bytes, pack_int8, nullptr, narrow_row_bytes, encode_int8, 1, narrow_gemm,
             peak_flops},
    .q8 = {reference::grouped_packed_bytes, nullptr, reference::pack_groups, reference::grouped_row_bytes,
           reference::encode_groups, 1, reference::grouped_gemm, peak_flops},
    .q4 = {reference::grouped_packed_bytes, nullptr, reference::pack_groups, reference::grouped_row_bytes,
           reference::encode_groups, 1, reference::grouped_gemm, peak_flops},
    .decoder = {reference::rms_norm, reference::rotate, reference::gate, reference::activate_row,
                reference::kv_bytes, reference::store_key_value, reference::paged_attention_scratch,
                reference::paged_attention},
    .pixels = {reference::resample_row, reference::resample_column, reference::overlaps_any},
    .has_bf16 = false,
};

}  // namespace headrace
