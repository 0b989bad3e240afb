#include "models/quantize.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"

namespace headrace {
namespace {

uint8_t clamp_to(float value, float high) {
  return static_cast<uint8_t>(std::clamp(std::nearbyint(value), 0.0f, high));
}

void quantize_8(const float* w, uint8_t* q, float* scale) {
  float largest = 0;
  for (int64_t i = 0; i < kWeightGroup; ++i) largest = std::max(largest, std::abs(w[i]));
  *scale = to_half_and_back(largest / 127.0f);
  const float inverse = *scale > 0 ? 1.0f / *scale : 0.0f;
  for (int64_t i = 0; i < kWeightGroup; ++i) q[i] = clamp_to(w[i] * inverse + 128.0f, 255.0f);
}

struct Fit {
  float scale = 0, offset = 0;
  double error = HUGE_VAL;
};

// Scale and offset by least squares for the numbers that a first guess gives.
Fit fit_4(const float* w, float low, float step) {
  const float inverse = step > 0 ? 1.0f / step : 0.0f;
  double n = kWeightGroup, sum_q = 0, sum_qq = 0, sum_w = 0, sum_qw = 0;
  for (int64_t i = 0; i < kWeightGroup; ++i) {
    const double q = clamp_to((w[i] - low) * inverse, 15.0f);
    sum_q += q, sum_qq += q * q, sum_w += w[i], sum_qw += q * w[i];
  }
  const double determinant = n * sum_qq - sum_q * sum_q;
  Fit fit{step, low, 0};
  if (determinant > 0) {
    fit.scale = static_cast<float>((n * sum_qw - sum_q * sum_w) / determinant);
    fit.offset = static_cast<float>((sum_qq * sum_w - sum_q * sum_qw) / determinant);
  }
  fit.scale = to_half_and_back(fit.scale), fit.offset = to_half_and_back(fit.offset);
  const float back = fit.scale > 0 ? 1.0f / fit.scale : 0.0f;
  for (int64_t i = 0; i < kWeightGroup; ++i) {
    const double error = fit.scale * clamp_to((w[i] - fit.offset) * back, 15.0f) + fit.offset - w[i];
    fit.error += error * error;
  }
  return fit;
}

void quantize_4(const float* w, uint8_t* q, float* scale, float* offset) {
  const auto [low, high] = std::minmax_element(w, w + kWeightGroup);
  Fit best;
  // Ranges that leave out up to a fifth of the group's at its ends.
  for (const float inner : {0.0f, 0.03f, 0.06f, 0.1f}) {
    const float range = *high - *low;
    const Fit fit = fit_4(w, *low + inner * range, (1 - 2 * inner) * range / 15.0f);
    if (fit.error < best.error) best = fit;
  }
  *scale = best.scale, *offset = best.offset;
  const float inverse = best.scale > 0 ? 1.0f / best.scale : 0.0f;
  for (int64_t i = 0; i < kWeightGroup; ++i) q[i] = clamp_to((w[i] - best.offset) * inverse, 15.0f);
}

}  // namespace

QuantizedWeights quantize(const float* w, int64_t n, int64_t k, int bits) {
  const int64_t groups = n * k / kWeightGroup;
  QuantizedWeights out;
  out.q.resize(static_cast<size_t>(n * k));
  out.scale.resize(static_cast<size_t>(groups));
  if (bits == 4) out.offset.resize(static_cast<size_t>(groups));
  for (int64_t g = 0; g < groups; ++g) {
    const auto at = static_cast<size_t>(g);
    if (bits == 4)
      quantize_4(w + g * kWeightGroup, &out.q[at * kWeightGroup], &out.scale[at], &out.offset[at]);
    else
      quantize_8(w + g * kWeightGroup, &out.q[at * kWeightGroup], &out.scale[at]);
  }
  return out;
}

}  // namespace headrace
