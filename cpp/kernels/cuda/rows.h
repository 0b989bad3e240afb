// Kernels that work on rows of C numbers: norms, pooling, embeddings, activations, rotary positions. The
// formulas are those of kernels.h.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/kernels.h"

namespace headrace::cuda {

HEADRACE_DEVICE float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGelu:
      return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case Activation::kGeluTanh:
      return 0.5f * x * (1.0f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    case Activation::kQuickGelu:
      return x / (1.0f + expf(-1.702f * x));
    case Activation::kSilu:
      return x / (1.0f + expf(-x));
  }
  return x;
}

// One block a row, which is read three times: the second and third time it comes from the cache.
//   y[row] = (x - mean) / sqrt(var + eps) gain + bias; x, y [rows, C], may be the same.
HEADRACE_KERNEL layer_norm(const float* x, const float* gain, const float* bias, float eps, int64_t c,
                           float* y) {
  HEADRACE_SHARED(float, scratch, kMaxWarps);
  const float* in = x + static_cast<int64_t>(block_x()) * c;
  float* out = y + static_cast<int64_t>(block_x()) * c;
  float sum = 0;
  for (int64_t i = thread_index(); i < c; i += block_threads()) sum += in[i];
  const float mean = block_sum(sum, scratch) / static_cast<float>(c);
  float squares = 0;
  for (int64_t i = thread_index(); i < c; i += block_threads()) squares += (in[i] - mean) * (in[i] - mean);
  const float scale = 1.0f / sqrtf(block_sum(squares, scratch) / static_cast<float>(c) + eps);
  for (int64_t i = thread_index(); i < c; i += block_threads())
    out[i] = (in[i] - mean) * scale * gain[i] + bias[i];
}

//   y[row] = x / sqrt(mean x^2 + eps) gain
HEADRACE_KERNEL rms_norm(const float* x, const float* gain, float eps, int64_t c, float* y) {
  HEADRACE_SHARED(float, scratch, kMaxWarps);
  const float* in = x + static_cast<int64_t>(block_x()) * c;
  float* out = y + static_cast<int64_t>(block_x()) * c;
  float squares = 0;
  for (int64_t i = thread_index(); i < c; i += block_threads()) squares += in[i] * in[i];
  const float scale = 1.0f / sqrtf(block_sum(squares, scratch) / static_cast<float>(c) + eps);
  for (int64_t i = thread_index(); i < c; i += block_threads()) out[i] = in[i] * scale * gain[i];
}

// Of each of a row's heads by itself, in place; grid (heads, rows).
//   x[row,h] = x[row,h] / sqrt(mean x[row,h]^2 + eps) gain; x [rows, ld], heads of d from each row's start
HEADRACE_KERNEL rms_norm_heads(float* x, int64_t ld, const float* gain, float eps, int64_t d) {
  HEADRACE_SHARED(float, scratch, kMaxWarps);
  float* head = x + static_cast<int64_t>(block_y()) * ld + static_cast<int64_t>(block_x()) * d;
  float squares = 0;
  for (int64_t i = thread_index(); i < d; i += block_threads()) squares += head[i] * head[i];
  const float scale = 1.0f / sqrtf(block_sum(squares, scratch) / static_cast<float>(d) + eps);
  for (int64_t i = thread_index(); i < d; i += block_threads()) head[i] = head[i] * scale * gain[i];
}

//   y[row] = x / max(|x|_2, 1e-12)
HEADRACE_KERNEL l2_normalize(const float* x, int64_t c, float* y) {
  HEADRACE_SHARED(float, scratch, kMaxWarps);
  const float* in = x + static_cast<int64_t>(block_x()) * c;
  float* out = y + static_cast<int64_t>(block_x()) * c;
  float squares = 0;
  for (int64_t i = thread_index(); i < c; i += block_threads()) squares += in[i] * in[i];
  const float scale = 1.0f / larger(sqrtf(block_sum(squares, scratch)), 1e-12f);
  for (int64_t i = thread_index(); i < c; i += block_threads()) out[i] = in[i] * scale;
}

//   x[row] = softmax(x[row]), in place
HEADRACE_KERNEL softmax(float* x, int64_t n) {
  HEADRACE_SHARED(float, scratch, kMaxWarps);
  float* row = x + static_cast<int64_t>(block_x()) * n;
  float most = -INFINITY;
  for (int64_t i = thread_index(); i < n; i += block_threads()) most = larger(most, row[i]);
  most = block_max(most, scratch);
  float sum = 0;
  for (int64_t i = thread_index(); i < n; i += block_threads()) sum += row[i] = expf(row[i] - most);
  const float scale = 1.0f / block_sum(sum, scratch);
  for (int64_t i = thread_index(); i < n; i += block_threads()) row[i] *= scale;
}

// Of sequence block_x(), whose tokens are rows cu_lengths[b] to cu_lengths[b + 1]; a thread a column, the
// columns of block_y(). The rows are summed in their order.
//   y[b,c] = mean over the sequence of x[t,c]
HEADRACE_KERNEL mean_pool(const float* x, const int32_t* cu_lengths, int64_t c, float* y) {
  const int64_t column = static_cast<int64_t>(block_y()) * block_threads() + thread_index();
  if (column >= c) return;
  const int64_t begin = cu_lengths[block_x()], end = cu_lengths[block_x() + 1];
  float sum = 0;
  for (int64_t row = begin; row < end; ++row) sum += x[row * c + column];
  y[static_cast<int64_t>(block_x()) * c + column] = sum / static_cast<float>(end - begin);
}

// One block a token. types and type_table may be null.
//   y[t] = words[ids[t]] + positions[places[t]] + type_table[types[t]]
HEADRACE_KERNEL embed(const float* words, const float* positions, const float* type_table, const int32_t* ids,
                      const int32_t* places, const int32_t* types, int64_t c, float* y) {
  const int64_t token = block_x();
  const float* word = words + static_cast<int64_t>(ids[token]) * c;
  const float* position =
      positions == nullptr ? nullptr : positions + static_cast<int64_t>(places[token]) * c;
  const int64_t type = types == nullptr ? 0 : types[token];
  const float* of_type = type_table == nullptr ? nullptr : type_table + type * c;
  for (int64_t i = thread_index(); i < c; i += block_threads()) {
    float sum = word[i];
    if (position != nullptr) sum += position[i];
    if (of_type != nullptr) sum += of_type[i];
    y[token * c + i] = sum;
  }
}

// One thread a number.
HEADRACE_KERNEL activation(Activation kind, int64_t count, float* x) {
  const int64_t i = static_cast<int64_t>(block_x()) * block_threads() + thread_index();
  if (i < count) x[i] = activate(kind, x[i]);
}

//   y[i] += x[i]
HEADRACE_KERNEL add(const float* x, int64_t count, float* y) {
  const int64_t i = static_cast<int64_t>(block_x()) * block_threads() + thread_index();
  if (i < count) y[i] += x[i];
}

//   x[i] = limit tanh(x[i] / limit)
HEADRACE_KERNEL soft_cap(float limit, int64_t count, float* x) {
  const int64_t i = static_cast<int64_t>(block_x()) * block_threads() + thread_index();
  if (i < count) x[i] = limit * tanhf(x[i] / limit);
}

//   y[t,i] = act(x[t,i]) x[t,n + i]; x [rows, 2n], y [rows, n], apart
HEADRACE_KERNEL gate(const float* x, int64_t rows, int64_t n, Activation kind, float* y) {
  const int64_t i = static_cast<int64_t>(block_x()) * block_threads() + thread_index();
  if (i >= rows * n) return;
  const float* row = x + i / n * 2 * n;
  y[i] = activate(kind, row[i % n]) * row[n + i % n];
}

// The first 2 half numbers of each head of token block_x(), turned by its position's angles.
//   x [T, ld], heads of head_dim from each row's start; cosine, sine [positions, half]
HEADRACE_KERNEL rotate(float* x, int64_t ld, int64_t heads, int64_t head_dim, int64_t half,
                       const int32_t* places, const float* cosine, const float* sine) {
  const int64_t token = block_x();
  const float* c = cosine + static_cast<int64_t>(places[token]) * half;
  const float* s = sine + static_cast<int64_t>(places[token]) * half;
  for (int64_t i = thread_index(); i < heads * half; i += block_threads()) {
    float* head = x + token * ld + i / half * head_dim;
    const int64_t k = i % half;
    const float low = head[k], high = head[k + half];
    head[k] = low * c[k] - high * s[k];
    head[k + half] = high * c[k] + low * s[k];
  }
}

// Rows [rows, K] to bf16, and to int8 with what undoes the scale; one block a row.
HEADRACE_KERNEL encode_bf16(const float* x, int64_t count, Bf16* y) {
  const int64_t i = static_cast<int64_t>(block_x()) * block_threads() + thread_index();
  if (i < count) y[i] = to_bf16(x[i]);
}

//   z = x factor, or x where factor is null
//   y = rint(z 127 / max|z|), scale = max|z| / 127; a row with a number that is not finite has a scale that
//   is not
HEADRACE_KERNEL encode_int8(const float* x, const float* factor, int64_t k, int8_t* y, float* scale) {
  HEADRACE_SHARED(float, scratch, kMaxWarps);
  const float* in = x + static_cast<int64_t>(block_x()) * k;
  int8_t* out = y + static_cast<int64_t>(block_x()) * k;
  float most = 0, odd = 0;
  for (int64_t i = thread_index(); i < k; i += block_threads()) {
    const float z = factor == nullptr ? in[i] : in[i] * factor[i];
    most = larger(most, fabsf(z));
    odd += z * 0.0f;  // NaN where it is not finite
  }
  most = block_max(most, scratch);
  odd = block_sum(odd, scratch);
  const float inverse = most > 0 ? 127.0f / most : 0.0f;
  for (int64_t i = thread_index(); i < k; i += block_threads()) {
    const float z = factor == nullptr ? in[i] : in[i] * factor[i];
    const float rounded = rintf(z * inverse);
    out[i] = static_cast<int8_t>(rounded >= -127.0f && rounded <= 127.0f ? rounded : 0.0f);
  }
  if (thread_index() == 0) scale[block_x()] = most / 127.0f + odd;
}

}  // namespace headrace::cuda
