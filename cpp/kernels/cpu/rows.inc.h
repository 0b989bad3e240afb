// Kernels that work on one row at a time: norms, softmax, activation, pooling.
#pragma once

#include "kernels/cpu/attention.inc.h"

namespace headrace {
namespace {

void layer_norm(const float* x, const float* gain, const float* bias, float eps, int64_t rows, int64_t c,
                float* y) {
  const int64_t whole = c / kLanes * kLanes;
  const int64_t rest = c - whole;
  const float inverse = 1.0f / static_cast<float>(c);
  for (int64_t row = 0; row < rows; ++row, x += c, y += c) {
    Vec total = splat(0.0f);
    for (int64_t i = 0; i < whole; i += kLanes) total = add(total, load(x + i));
    if (rest) total = add(total, load_first(x + whole, rest));
    const Vec mean = splat(sum_lanes(total) * inverse);
    Vec squares = splat(0.0f);
    for (int64_t i = 0; i < whole; i += kLanes) {
      const Vec distance = sub(load(x + i), mean);
      squares = mul_add(distance, distance, squares);
    }
    if (rest) {
      const Vec distance = keep_first(sub(load_first(x + whole, rest), mean), rest, splat(0.0f));
      squares = mul_add(distance, distance, squares);
    }
    const Vec scale = splat(1.0f / __builtin_sqrtf(sum_lanes(squares) * inverse + eps));
    for (int64_t i = 0; i < whole; i += kLanes) {
      const Vec normalised = mul(sub(load(x + i), mean), scale);
      store(y + i, mul_add(normalised, load(gain + i), load(bias + i)));
    }
    if (rest) {
      const Vec normalised = mul(sub(load_first(x + whole, rest), mean), scale);
      store_first(y + whole,
                  mul_add(normalised, load_first(gain + whole, rest), load_first(bias + whole, rest)), rest);
    }
  }
}

void softmax(float* x, int64_t n) {
  const int64_t whole = n / kLanes * kLanes;
  const int64_t rest = n - whole;
  const Vec maximum = splat(largest_of(x, n)), log2e = splat(kLog2E), floor = splat(-126.0f);
  // The distance is taken before the scaling: it is exact where it matters, near the maximum.
  const auto exponential = [&](Vec value) {
    return exp2_nonpositive(larger(mul(sub(value, maximum), log2e), floor));
  };
  Vec sum = splat(0.0f);
  for (int64_t i = 0; i < whole; i += kLanes) {
    const Vec p = exponential(load(x + i));
    store(x + i, p);
    sum = add(sum, p);
  }
  Vec last = splat(0.0f);
  if (rest) {
    last = keep_first(exponential(load_first(x + whole, rest)), rest, splat(0.0f));
    sum = add(sum, last);
  }
  const Vec scale = splat(1.0f / sum_lanes(sum));
  for (int64_t i = 0; i < whole; i += kLanes) store(x + i, mul(load(x + i), scale));
  if (rest) store_first(x + whole, mul(last, scale), rest);
}

void gelu_row(float* x, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t count = least(kLanes, n - i);
    store_first(x + i, gelu(load_first(x + i, count)), count);
  }
}

void mean_pool(const float* x, int64_t rows, int64_t c, float* y) {
  const float inverse = 1.0f / static_cast<float>(rows);
  for (int64_t i = 0; i < c; i += kLanes) {
    const int64_t count = least(kLanes, c - i);
    Vec sum = splat(0.0f);
    for (int64_t row = 0; row < rows; ++row) sum = add(sum, load_first(x + row * c + i, count));
    store_first(y + i, mul(sum, splat(inverse)), count);
  }
}

void l2_normalize(const float* x, int64_t c, float* y) {
  Vec squares = splat(0.0f);
  for (int64_t i = 0; i < c; i += kLanes) {
    const Vec value = load_first(x + i, least(kLanes, c - i));
    squares = mul_add(value, value, squares);
  }
  const float norm = __builtin_sqrtf(sum_lanes(squares));
  const Vec scale = splat(1.0f / (norm > 1e-12f ? norm : 1e-12f));
  for (int64_t i = 0; i < c; i += kLanes) {
    const int64_t count = least(kLanes, c - i);
    store_first(y + i, mul(load_first(x + i, count), scale), count);
  }
}

void add3(const float* a, const float* b, const float* d, int64_t c, float* y) {
  for (int64_t i = 0; i < c; i += kLanes) {
    const int64_t count = least(kLanes, c - i);
    const Vec sum = add(load_first(a + i, count), load_first(b + i, count));
    store_first(y + i, add(sum, load_first(d + i, count)), count);
  }
}

}  // namespace
}  // namespace headrace
