// The activation functions of torch.nn by the names of their classes, with the settings those have by
// default.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/kernels.h"

namespace headrace {

enum class Curve {
  kIdentity,
  kTanh,
  kGelu,  // x Phi(x), exact
  kRelu,
  kLeakyRelu,  // slope 0.01 below 0
  kElu,
  kSilu,
  kSigmoid,
  kSoftplus,
  kMish,
};

// "torch.nn.modules.activation.Tanh" or "torch.nn.Tanh"; none for others.
std::optional<Curve> curve_by_class(std::string_view name);
// The names of all, for messages.
std::string curve_names();

// y[i] = curve(x[i]), in place; a number's result depends on itself alone.
void bend(Curve curve, const Kernels& kernels, float* x, int64_t count);

}  // namespace headrace
