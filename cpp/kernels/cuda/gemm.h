// Matrix products with the table's epilogue: y = act(x w^T + bias) + residual. x [M, K], w [N, K], row-major.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/rows.h"

namespace headrace::cuda {

struct GemmEpilogue {
  const float* bias;      // [N] or null
  const float* residual;  // [M, N], row stride ldr, or null
  int64_t ldr;
  float* y;  // [M, N], row stride ldy; may be residual
  int64_t ldy;
  Bf16* bf16_y;  // the same rounded, [M, N], or null
  Activation activation;

  HEADRACE_DEVICE void put(int64_t row, int64_t column, int64_t n, float sum) const {
    if (bias != nullptr) sum += bias[column];
    sum = activate(activation, sum);
    if (residual != nullptr) sum += residual[row * ldr + column];
    if (y != nullptr) y[row * ldy + column] = sum;
    if (bf16_y != nullptr) bf16_y[row * n + column] = to_bf16(sum);
  }
};

// f32: a tile of 64 x 64, 256 threads of 4 x 4 each; k in steps of 16, ascending.
struct GemmF32 {
  static constexpr int kTile = 64, kDepth = 16, kThreads = 256, kEach = 4;
};

HEADRACE_KERNEL gemm_f32(const float* x, const float* w, int64_t m, int64_t n, int64_t k, GemmEpilogue out) {
  constexpr int kTile = GemmF32::kTile, kDepth = GemmF32::kDepth, kEach = GemmF32::kEach;
  constexpr int kStride = kTile + 1;  // so that a column's numbers lie in different banks
  HEADRACE_SHARED(float, xs, kDepth* kStride);
  HEADRACE_SHARED(float, ws, kDepth* kStride);
  const int64_t row0 = static_cast<int64_t>(block_y()) * kTile,
                column0 = static_cast<int64_t>(block_x()) * kTile;
  const int ty = static_cast<int>(thread_index()) / 16, tx = static_cast<int>(thread_index()) % 16;
  float sums[kEach][kEach] = {};
  for (int64_t k0 = 0; k0 < k; k0 += kDepth) {
    for (int i = static_cast<int>(thread_index()); i < kTile * kDepth; i += GemmF32::kThreads) {
      const int row = i / kDepth, depth = i % kDepth;
      const bool inside = k0 + depth < k;
      xs[depth * kStride + row] = inside && row0 + row < m ? x[(row0 + row) * k + k0 + depth] : 0.0f;
      ws[depth * kStride + row] = inside && column0 + row < n ? w[(column0 + row) * k + k0 + depth] : 0.0f;
    }
    block_barrier();
    for (int depth = 0; depth < kDepth; ++depth) HEADRACE_UNROLL
    for (int i = 0; i < kEach; ++i) HEADRACE_UNROLL
    for (int j = 0; j < kEach; ++j)
      sums[i][j] += xs[depth * kStride + ty + 16 * i] * ws[depth * kStride + tx + 16 * j];
    block_barrier();
  }
  HEADRACE_UNROLL
  for (int i = 0; i < kEach; ++i) HEADRACE_UNROLL
  for (int j = 0; j < kEach; ++j) {
    const int64_t row = row0 + ty + 16 * i, column = column0 + tx + 16 * j;
    if (row < m && column < n) out.put(row, column, n, sums[i][j]);
  }
}

// Tensor cores: a tile of 64 x 64, four warps of 32 x 32 each; two stages of 64 bytes along k, so that one is
// copied while the other is multiplied. Rows of a stage begin 80 bytes apart: eight of them then lie in
// different banks. K is a multiple of 16 bytes.
struct GemmTensor {
  static constexpr int kTile = 64, kThreads = 128, kStages = 2;
  static constexpr int kDepthBytes = 64, kRowBytes = 80;
  static constexpr int kStageBytes = kTile * kRowBytes;
};

// 64 rows of 64 bytes from row0 and byte k0 on; what lies outside is zeros.
HEADRACE_DEVICE void copy_tile(char* to, const char* from, int64_t row0, int64_t rows, int64_t k0,
                               int64_t row_bytes) {
  constexpr int kChunks = GemmTensor::kDepthBytes / 16;
  for (int i = static_cast<int>(thread_index()); i < GemmTensor::kTile * kChunks; i += GemmTensor::kThreads) {
    const int row = i / kChunks, at = i % kChunks * 16;
    const bool valid = row0 + row < rows && k0 + at < row_bytes;
    const char* source = valid ? from + (row0 + row) * row_bytes + k0 + at : from;
    copy_async(to + row * GemmTensor::kRowBytes + at, source, valid);
  }
}

// The sums of this warp's 32 x 32 numbers: [row half][eight columns][the four of a fragment].
template <typename Sum>
HEADRACE_DEVICE void multiply_tiles(const char* x, const char* w, int64_t m, int64_t n, int64_t row_bytes,
                                    int64_t row0, int64_t column0, Sum (&sums)[2][4][4]) {
  constexpr int kRow = GemmTensor::kRowBytes, kStage = GemmTensor::kStageBytes;
  HEADRACE_SHARED(char, xs, GemmTensor::kStages* kStage);
  HEADRACE_SHARED(char, ws, GemmTensor::kStages* kStage);
  const int lane = static_cast<int>(lane_index());
  const int warp_row = static_cast<int>(warp_index()) / 2 * 32,
            warp_column = static_cast<int>(warp_index()) % 2 * 32;
  const int64_t steps = (row_bytes + GemmTensor::kDepthBytes - 1) / GemmTensor::kDepthBytes;

  copy_tile(xs, x, row0, m, 0, row_bytes);
  copy_tile(ws, w, column0, n, 0, row_bytes);
  copy_commit();
  for (int64_t step = 0; step < steps; ++step) {
    const int stage = static_cast<int>(step % 2);
    if (step + 1 < steps) {
      const int64_t next = (step + 1) * GemmTensor::kDepthBytes;
      copy_tile(xs + (1 - stage) * kStage, x, row0, m, next, row_bytes);
      copy_tile(ws + (1 - stage) * kStage, w, column0, n, next, row_bytes);
    }
    copy_commit();
    copy_wait<1>();
    block_barrier();
    const char* xt = xs + stage * kStage;
    const char* wt = ws + stage * kStage;
    HEADRACE_UNROLL
    for (int depth = 0; depth < GemmTensor::kDepthBytes; depth += 32) {
      // Matrices in the order of a's registers: rows 0-7 and 8-15 of the first 16 bytes, then of the next.
      uint32_t a[2][4];
      HEADRACE_UNROLL
      for (int half = 0; half < 2; ++half)
        load_matrices(a[half], xt + (warp_row + 16 * half + lane % 16) * kRow + depth + lane / 16 * 16);
      HEADRACE_UNROLL
      for (int pair = 0; pair < 2; ++pair) {
        // b's: columns 0-7 of the first 16 bytes and of the next, then columns 8-15.
        uint32_t b[4];
        load_matrices(
            b, wt + (warp_column + 16 * pair + lane % 8 + lane / 16 * 8) * kRow + depth + lane / 8 % 2 * 16);
        HEADRACE_UNROLL
        for (int half = 0; half < 2; ++half) {
          mma(sums[half][2 * pair], a[half], b[0], b[1]);
          mma(sums[half][2 * pair + 1], a[half], b[2], b[3]);
        }
      }
    }
    block_barrier();
  }
  copy_wait<0>();
}

// What a thread's numbers are: calls put(row, column, sum) for each that lies inside.
template <typename Sum, typename Put>
HEADRACE_DEVICE void each_sum(int64_t m, int64_t n, int64_t row0, int64_t column0, const Sum (&sums)[2][4][4],
                              const Put& put) {
  const int lane = static_cast<int>(lane_index());
  const int warp_row = static_cast<int>(warp_index()) / 2 * 32,
            warp_column = static_cast<int>(warp_index()) % 2 * 32;
  HEADRACE_UNROLL
  for (int half = 0; half < 2; ++half) HEADRACE_UNROLL
  for (int eight = 0; eight < 4; ++eight) HEADRACE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int64_t row = row0 + warp_row + 16 * half + lane / 4 + i / 2 * 8;
    const int64_t column = column0 + warp_column + 8 * eight + lane % 4 * 2 + i % 2;
    if (row < m && column < n) put(row, column, sums[half][eight][i]);
  }
}

HEADRACE_KERNEL gemm_bf16(const Bf16* x, const Bf16* w, int64_t m, int64_t n, int64_t k, GemmEpilogue out) {
  const int64_t row0 = static_cast<int64_t>(block_y()) * GemmTensor::kTile;
  const int64_t column0 = static_cast<int64_t>(block_x()) * GemmTensor::kTile;
  float sums[2][4][4] = {};
  multiply_tiles(reinterpret_cast<const char*>(x), reinterpret_cast<const char*>(w), m, n, 2 * k, row0,
                 column0, sums);
  each_sum(m, n, row0, column0, sums,
           [&](int64_t row, int64_t column, float sum) { out.put(row, column, n, sum); });
}

// x_scale [M], w_scale [N]: what undoes the scales of rows and columns.
HEADRACE_KERNEL gemm_int8(const int8_t* x, const int8_t* w, const float* x_scale, const float* w_scale,
                          int64_t m, int64_t n, int64_t k, GemmEpilogue out) {
  const int64_t row0 = static_cast<int64_t>(block_y()) * GemmTensor::kTile;
  const int64_t column0 = static_cast<int64_t>(block_x()) * GemmTensor::kTile;
  int32_t sums[2][4][4] = {};
  multiply_tiles(reinterpret_cast<const char*>(x), reinterpret_cast<const char*>(w), m, n, k, row0, column0,
                 sums);
  each_sum(m, n, row0, column0, sums, [&](int64_t row, int64_t column, int32_t sum) {
    out.put(row, column, n, static_cast<float>(sum) * x_scale[row] * w_scale[column]);
  });
}

// Few rows of x times weights of 4 or 8 bits in groups of 32 along k: a warp a column of y, reading its
// weights once, as they lie, for all rows.
//   q: [N, K / 2] bytes, the lower half first (kBits 4), or [N, K] bytes (kBits 8); scale, offset [N, K /
//   32]; w = scale q + offset, or scale (q - 128) where offset is null. rows <= kMaxRows.
constexpr int kMaxGroupedRows = 8;

template <int kBits>
HEADRACE_KERNEL gemm_grouped(const float* x, const uint8_t* q, const float* scale, const float* offset,
                             int64_t rows, int64_t n, int64_t k, GemmEpilogue out) {
  const int64_t column = static_cast<int64_t>(block_x()) * (block_threads() / kWarp) + warp_index();
  if (column >= n) return;  // a whole warp, and no barrier follows
  const int64_t groups = k / kWeightGroup;
  const uint8_t* weights = q + column * k * kBits / 8;
  float sums[kMaxGroupedRows] = {};
  // A lane a group: its numbers lie together, and 32 lanes read 512 or 1,024 bytes in a row.
  for (int64_t group = lane_index(); group < groups; group += kWarp) {
    const float s = scale[column * groups + group];
    const float o = offset == nullptr ? -128.0f * s : offset[column * groups + group];
    const uint8_t* bytes = weights + group * kWeightGroup * kBits / 8;
    for (int i = 0; i < kWeightGroup; ++i) {
      const unsigned number = kBits == 8 ? bytes[i] : bytes[i / 2] >> (i % 2 * 4) & 15u;
      const float weight = s * static_cast<float>(number) + o;
      HEADRACE_UNROLL
      for (int row = 0; row < kMaxGroupedRows; ++row)
        if (row < rows) sums[row] += weight * x[row * k + group * kWeightGroup + i];
    }
  }
  HEADRACE_UNROLL
  for (int row = 0; row < kMaxGroupedRows; ++row) {
    const float sum = warp_sum(sums[row]);
    if (row < rows && lane_index() == 0) out.put(row, column, n, sum);
  }
}

}  // namespace headrace::cuda
