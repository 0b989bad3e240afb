// Layers: weights plus the way to run them over a ragged batch on a pool. Nothing here allocates after
// construction.
#pragma once

#include <cstdint>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "tensor/buffer.h"

namespace headrace {

// y = act(x W^T + bias) + residual over T rows; see Gemm in kernels.h.
struct Linear {
  Buffer packed;  // N x K, as the table's pack_weights left it
  Buffer bias;    // [N]
  int64_t n = 0;
  int64_t k = 0;

  // x [T, K], y [T, N], residual [T, N] or null, all contiguous.
  void forward(const Kernels& kernels, ThreadPool& pool, int64_t rows, const float* x, float* y,
               Activation activation = Activation::kNone, const float* residual = nullptr) const;
};

struct LayerNorm {
  Buffer gain;  // [C]
  Buffer bias;  // [C]
  float eps = 0;

  // x, y [T, C], may be the same.
  void forward(const Kernels& kernels, ThreadPool& pool, int64_t rows, const float* x, float* y) const;
};

}  // namespace headrace
