#include "kernels/reference_grouped.h"

#include <cmath>

#include "kernels/reference_decoder.h"

namespace headrace::reference {

float activate_one(float x, Activation activation) {
  const auto times_sigmoid = [x](double u) { return static_cast<float>(x / (1 + std::exp(-u))); };
  const double value = x;
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGelu:
      return static_cast<float>(0.5 * value * std::erfc(-value * std::sqrt(0.5)));
    case Activation::kGeluTanh:
      return times_sigmoid(2 * std::sqrt(2 / 3.14159265358979323846) *
                           (value + 0.044715 * value * value * value));
    case Activation::kQuickGelu:
      return times_sigmoid(1.702 * value);
    case Activation::kSilu:
      return times_sigmoid(value);
  }
  return x;
}

int64_t grouped_packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * k * static_cast<int64_t>(sizeof(float));
}

// Both kinds are kept as the numbers that they stand for.
void pack_groups(const GroupedWeights& w, int64_t n, int64_t k, void* packed) {
  auto* out = static_cast<float*>(packed);
  for (int64_t i = 0; i < n * k; ++i) {
    const int64_t group = i / kWeightGroup;
    const auto q = static_cast<float>(w.q[i]);
    out[i] = w.offset ? w.scale[group] * q + w.offset[group] : w.scale[group] * (q - 128.0f);
  }
}

int64_t grouped_row_bytes(int64_t k) { return k * static_cast<int64_t>(sizeof(float)); }

void encode_groups(const float* x, int64_t rows, int64_t k, const float*, void* encoded) {
  auto* out = static_cast<float*>(encoded);
  for (int64_t group = 0; group < rows * k; group += kWeightGroup) {
    float largest = 0, finite = 0;
    for (int64_t i = group; i < group + kWeightGroup; ++i) {
      largest = std::fmax(largest, std::fabs(x[i]));
      finite += x[i] * 0.0f;
    }
    const float scale = largest * (1.0f / 127.0f) + finite;
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    for (int64_t i = group; i < group + kWeightGroup; ++i) out[i] = std::rint(x[i] * inverse) * scale;
  }
}

void grouped_gemm(const NarrowGemm& g, int64_t row_begin, int64_t row_end, int64_t col_begin,
                  int64_t col_end) {
  for (int64_t row = row_begin; row < row_end; ++row)
    for (int64_t col = col_begin; col < col_end; ++col) {
      const float* x = static_cast<const float*>(g.x) + row * g.k;
      const float* w = static_cast<const float*>(g.packed_w) + col * g.k;
      double sum = 0;
      for (int64_t i = 0; i < g.k; ++i) sum += static_cast<double>(x[i]) * w[i];
      auto value = static_cast<float>(sum) + (g.bias ? g.bias[col] : 0.0f);
      value = activate_one(value, g.activation);
      if (g.residual) value += g.residual[row * g.ldr + col];
      if (g.y) g.y[row * g.ldy + col] = value;
    }
}

}  // namespace headrace::reference
