// Activation functions, a vector at a time.
#pragma once

#include "kernels/cpu/vec.h"
#include "kernels/kernels.h"

namespace headrace {
namespace {

// x Phi(x). Phi(-a) = 2^Q(a) for a in [0, 6], Q a degree-9 fit weighted so that the error of a Phi(-a) is
// least (4.5e-8 absolute with f32 coefficients); beyond 6, where Phi(-a) < 1e-9, Q(6) stands in. Working on
// the small tail keeps x < 0 free of the cancellation in 1 + erf(x / sqrt 2). NaN stays NaN.
inline Vec gelu(Vec x) {
  const Vec a = smaller(absolute(x), splat(6.0f));
  Vec q = splat(1.543648693314026e-07f);
  q = mul_add(q, a, splat(-3.8112600577733247e-06f));
  q = mul_add(q, a, splat(3.711781755555421e-05f));
  q = mul_add(q, a, splat(-0.0001518626231700182f));
  q = mul_add(q, a, splat(-0.00025173372705467045f));
  q = mul_add(q, a, splat(0.007243441417813301f));
  q = mul_add(q, a, splat(-0.052639126777648926f));
  q = mul_add(q, a, splat(-0.4591546356678009f));
  q = mul_add(q, a, splat(-1.1511123180389404f));
  q = mul_add(q, a, splat(-1.0f));
  // larger() gives its second argument when one is NaN.
  return sub(larger(splat(0.0f), x), mul(a, exp2_nonpositive(q)));
}

// The same to 2e-5, in two thirds of the operations: Q of degree 4 and a fit of 2^f of degree 3. For what is
// rounded to bf16 or 8 bits next.
inline Vec gelu_coarse(Vec x) {
  const Vec a = smaller(absolute(x), splat(6.0f));
  Vec q = splat(0.003865651087835431f);
  q = mul_add(q, a, splat(-0.04407656192779541f));
  q = mul_add(q, a, splat(-0.46801871061325073f));
  q = mul_add(q, a, splat(-1.1473702192306519f));
  q = mul_add(q, a, splat(-1.0004799365997314f));
  const Vec n = nearest(q), f = sub(q, n);
  Vec p = splat(0.0551716573536396f);
  p = mul_add(p, f, splat(0.24261116981506348f));
  p = mul_add(p, f, splat(0.6932609677314758f));
  p = mul_add(p, f, splat(0.9999280571937561f));
  return sub(larger(splat(0.0f), x), mul(a, times_power_of_two(p, n)));
}

// 1 / (1 + e^-x): 2^min(x', 0) / (1 + 2^-|x'|), x' = x log2 e, which loses nothing on either side.
inline Vec sigmoid(Vec x) {
  const Vec floor = splat(-126.0f), scaled = mul(x, splat(kLog2E));
  const Vec below = exp2_nonpositive(larger(smaller(scaled, splat(0.0f)), floor));
  const Vec beside = exp2_nonpositive(larger(sub(splat(0.0f), absolute(scaled)), floor));
  return divide(below, add(splat(1.0f), beside));
}

// 1/2 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3). NaN times anything stays NaN, so
// bad numbers are seen in the answer.
inline Vec gelu_tanh(Vec x) {
  const Vec cube = mul(mul(x, x), x);
  return mul(x, sigmoid(mul(mul_add(cube, splat(0.044715f), x), splat(1.5957691216057308f))));
}

// Those that few models have: out of line, since activate() is wanted in many places.
__attribute__((noinline)) Vec activate_rarely(Vec x, Activation activation) {
  switch (activation) {
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kQuickGelu:
      return mul(x, sigmoid(mul(x, splat(1.702f))));
    case Activation::kSilu:
      return mul(x, sigmoid(x));
    default:
      return x;
  }
}

inline Vec activate(Vec x, Activation activation) {
  if (activation == Activation::kNone) return x;
  return activation == Activation::kGelu ? gelu(x) : activate_rarely(x, activation);
}

inline Vec activate_coarsely(Vec x, Activation activation) {
  return activation == Activation::kGelu ? gelu_coarse(x) : activate(x, activation);
}

}  // namespace
}  // namespace headrace
