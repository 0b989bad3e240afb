#include "models/curve.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace headrace {
namespace {

constexpr std::array<std::pair<std::string_view, Curve>, 10> kCurves{{
    {"Identity", Curve::kIdentity},
    {"Tanh", Curve::kTanh},
    {"GELU", Curve::kGelu},
    {"ReLU", Curve::kRelu},
    {"LeakyReLU", Curve::kLeakyRelu},
    {"ELU", Curve::kElu},
    {"SiLU", Curve::kSilu},
    {"Sigmoid", Curve::kSigmoid},
    {"Softplus", Curve::kSoftplus},
    {"Mish", Curve::kMish},
}};

template <typename Function>
void each(float* x, int64_t count, const Function& function) {
  for (int64_t i = 0; i < count; ++i) x[i] = function(x[i]);
}

float softplus(float x) {
  return x > 20.0f ? x : std::log1p(std::exp(x));
}  // as torch, beyond 20 its bend ends

}  // namespace

std::optional<Curve> curve_by_class(std::string_view name) {
  if (!name.starts_with("torch.nn.")) return std::nullopt;
  const std::string_view last = name.substr(name.rfind('.') + 1);
  for (const auto& [known, curve] : kCurves)
    if (last == known) return curve;
  return std::nullopt;
}

std::string curve_names() {
  std::string names;
  for (const auto& [name, curve] : kCurves) names += concat(names.empty() ? "" : ", ", name);
  return names;
}

void bend(Curve curve, const Kernels& kernels, float* x, int64_t count) {
  switch (curve) {
    case Curve::kIdentity:
      return;
    case Curve::kTanh:
      return each(x, count, [](float v) { return std::tanh(v); });
    case Curve::kGelu:
      return kernels.gelu(x, count);
    case Curve::kRelu:
      return each(x, count, [](float v) { return std::max(v, 0.0f); });
    case Curve::kLeakyRelu:
      return each(x, count, [](float v) { return v >= 0.0f ? v : 0.01f * v; });
    case Curve::kElu:
      return each(x, count, [](float v) { return v > 0.0f ? v : std::expm1(v); });
    case Curve::kSilu:
      return each(x, count, [](float v) { return v / (1.0f + std::exp(-v)); });
    case Curve::kSigmoid:
      return each(x, count, [](float v) { return 1.0f / (1.0f + std::exp(-v)); });
    case Curve::kSoftplus:
      return each(x, count, softplus);
    case Curve::kMish:
      return each(x, count, [](float v) { return v * std::tanh(softplus(v)); });
  }
}

}  // namespace headrace
