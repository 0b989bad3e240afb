#include "models/layers.h"

#include <algorithm>

namespace headrace {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The weights of one task's columns stay in L2 (1 to 2 MiB on the servers of today) while its rows pass over
// them.
constexpr int64_t kColumnBlockBytes = 768 << 10;
// Register tiles per task: enough that a block of weights is fetched from L3 rarely.
constexpr int64_t kTilesPerTask = 8;
// Tasks per thread below which columns are cut finer, so that a thread that lost its core is soon helped out.
constexpr int64_t kTasksPerThread = 4;
// Numbers that one task encodes at least: a few microseconds' work.
constexpr int64_t kEncodedPerTask = 4096;

}  // namespace

int64_t Linear::encoded_bytes(const Kernels& kernels, int64_t rows) const {
  const NarrowKernels* narrow = narrow_kernels(kernels, precision);
  return narrow ? rows * narrow->row_bytes(k) : 0;
}

int64_t Linear::row_tile(const Kernels& kernels) const {
  const NarrowKernels* narrow = narrow_kernels(kernels, precision);
  return narrow ? narrow->row_tile : kernels.row_tile;
}

void Linear::encode(const Kernels& kernels, int64_t rows, const float* x, void* encoded) const {
  if (const NarrowKernels* narrow = narrow_kernels(kernels, precision))
    narrow->encode(x, rows, k, factor.size() > 0 ? factor.data() : nullptr, encoded);
}

void Linear::encode(const Kernels& kernels, ThreadPool& pool, int64_t rows, const float* x,
                    void* encoded) const {
  const NarrowKernels* narrow = narrow_kernels(kernels, precision);
  if (!narrow) return;
  const int64_t height = divide_up(kEncodedPerTask, k), row_bytes = narrow->row_bytes(k);
  pool.parallel_for(divide_up(rows, height), [&](int64_t task, int) {
    const int64_t row = task * height;
    encode(kernels, std::min(height, rows - row), x + row * k, static_cast<char*>(encoded) + row * row_bytes);
  });
}

void Linear::run_part(const Kernels& kernels, const float* x, const void* encoded, const LinearOut& out,
                      const int64_t (&rows)[2], const int64_t (&columns)[2]) const {
  if (const NarrowKernels* narrow = narrow_kernels(kernels, precision)) {
    narrow->gemm({.x = encoded,
                  .packed_w = packed.data(),
                  .bias = bias.data(),
                  .residual = out.residual,
                  .ldr = n,
                  .y = out.f32,
                  .ldy = n,
                  .bf16_y = out.bf16,
                  .n = n,
                  .k = k,
                  .activation = out.activation},
                 rows[0], rows[1], columns[0], columns[1]);
  } else {
    kernels.gemm({x, k, packed.data(), bias.data(), out.residual, n, out.f32, n, n, k, out.activation},
                 rows[0], rows[1], columns[0], columns[1]);
  }
}

void Linear::run(const Kernels& kernels, int64_t rows, const float* x, const void* encoded,
                 const LinearOut& out) const {
  run_part(kernels, x, encoded, out, {0, rows}, {0, n});
}

void Linear::forward(const Kernels& kernels, ThreadPool& pool, int64_t rows, const float* x, float* y,
                     Activation activation, const float* residual, void* encoded) const {
  encode(kernels, pool, rows, x, encoded);
  const LinearOut out{.f32 = y, .activation = activation, .residual = residual};
  const int64_t panel = kernels.panel_columns;
  const int64_t panels = divide_up(n, panel);
  const int64_t row_blocks = divide_up(rows, row_tile(kernels) * kTilesPerTask);
  int64_t column_blocks = divide_up(packed.size() * static_cast<int64_t>(sizeof(float)), kColumnBlockBytes);
  if (pool.threads() > 1)
    column_blocks = std::max(column_blocks, divide_up(kTasksPerThread * pool.threads(), row_blocks));
  column_blocks = std::min(column_blocks, panels);
  pool.parallel_for(row_blocks * column_blocks, [&](int64_t task, int) {
    // Neighbouring tasks share columns, so the weights that one fetched are still near for the next.
    const int64_t row = task % row_blocks, column = task / row_blocks;
    run_part(kernels, x, encoded, out, {rows * row / row_blocks, rows * (row + 1) / row_blocks},
             {panels * column / column_blocks * panel,
              std::min(n, panels * (column + 1) / column_blocks * panel)});
  });
}

void LayerNorm::run(const Kernels& kernels, int64_t rows, const float* x, float* y) const {
  kernels.layer_norm(x, gain.data(), bias.data(), eps, rows, gain.size(), y);
}

void LayerNorm::forward(const Kernels& kernels, ThreadPool& pool, int64_t rows, const float* x,
                        float* y) const {
  constexpr int64_t kRowsPerTask = 32;
  const int64_t c = gain.size();
  pool.parallel_for(divide_up(rows, kRowsPerTask), [&](int64_t task, int) {
    const int64_t begin = task * kRowsPerTask;
    run(kernels, std::min(kRowsPerTask, rows - begin), x + begin * c, y + begin * c);
  });
}

}  // namespace headrace
