// Layers: weights plus the way to run them over a ragged batch on a pool. Nothing here allocates after
// construction.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "models/precision.h"
#include "tensor/buffer.h"

namespace headrace {

// Where a layer's result goes: rows of f32, or of bf16 as a bf16 layer with as many inputs takes them.
struct LinearOut {
  float* f32 = nullptr;
  void* bf16 = nullptr;
  Activation activation = Activation::kNone;
  const float* residual = nullptr;  // [rows, N], added last; may be f32
};

// y = act(x W^T + bias) + residual over rows; see Gemm and NarrowGemm in kernels.h. In bf16 and int8 the rows
// of x are encoded first, which is a step of its own since layers may share it.
struct Linear {
  Precision precision = Precision::kF32;
  Buffer packed;  // N x K, as the table packs that precision
  Buffer bias;    // [N]
  Buffer factor;  // [K], in int8: of x's columns before it is encoded; empty: none
  int64_t n = 0;
  int64_t k = 0;

  // As Kernels::row_tile, of this precision.
  int64_t row_tile(const Kernels& kernels) const;

  // Bytes that encode() fills for so many rows; 0 in f32.
  int64_t encoded_bytes(const Kernels& kernels, int64_t rows) const;
  void encode(const Kernels& kernels, int64_t rows, const float* x, void* encoded) const;
  // The same, shared out to the pool.
  void encode(const Kernels& kernels, ThreadPool& pool, int64_t rows, const float* x, void* encoded) const;

  // A few rows, on the calling thread. x [rows, K] is read in f32, encoded otherwise.
  void run(const Kernels& kernels, int64_t rows, const float* x, const void* encoded,
           const LinearOut& out) const;

  // All rows, shared out to the pool; all contiguous. encoded: encoded_bytes(rows), which this fills.
  void forward(const Kernels& kernels, ThreadPool& pool, int64_t rows, const float* x, float* y,
               Activation activation = Activation::kNone, const float* residual = nullptr,
               void* encoded = nullptr) const;

 private:
  void run_part(const Kernels& kernels, const float* x, const void* encoded, const LinearOut& out,
                const int64_t (&rows)[2], const int64_t (&columns)[2]) const;
};

struct LayerNorm {
  Buffer gain;  // [C]
  Buffer bias;  // [C]
  float eps = 0;

  // x, y [rows, C], may be the same. On the calling thread.
  void run(const Kernels& kernels, int64_t rows, const float* x, float* y) const;
  void forward(const Kernels& kernels, ThreadPool& pool, int64_t rows, const float* x, float* y) const;
};

}  // namespace headrace
