// The kernel table: arithmetic on raw pointers. One table per instruction set, all with the same formulas; a
// kernel cannot fail, allocate, log or take a lock, so it may run on any thread. Preconditions are the
// caller's business.
//
// Letters: B sequences, T tokens in a batch, L tokens of one sequence, C hidden, H heads, D head size, F
// feed-forward. Matrices are row-major f32; ld* is a row stride in floats. Buffers need no alignment beyond
// float's.
//
// Every result row depends on its own inputs only, and its sums run in an order fixed by its own length: an
// input gives bit-identical output alone or in any batch, however rows and columns are cut into tiles.
//
// This header is included by code compiled for AVX-512: it must declare only (no inline functions, no STL).
#pragma once

#include <cstdint>

#include "media/pixel_kernels.h"

namespace headrace {

// GELU (Hendrycks & Gimpel 2016, arXiv:1606.08415): x Phi(x) with the exact normal distribution, its tanh
// fit, or its quick fit x sigmoid(1.702 x); SiLU: x sigmoid(x).
enum class Activation : int32_t { kNone, kGelu, kGeluTanh, kQuickGelu, kSilu };

// y[m,n] = act(sum_k x[m,k] w[n,k] + bias[n]) + residual[m,n]
//   x [M, K] with row stride ldx; w: N x K as pack_weights left it; bias [N] or null; residual [M, N] with
//   row stride ldr, or null; y [M, N] with row stride ldy. y may be residual (same stride), and nothing else
//   may overlap. f32 accumulators, k ascending. |error| <= 2 (K + 4) 2^-24 (sum_k |x w| + |bias|) before the
//   activation, and that of GELU <= 2e-7 max(1, |x|), of the others <= 4e-7 max(1, |x|).
struct Gemm {
  const float* x;
  int64_t ldx;
  const float* packed_w;
  const float* bias;
  const float* residual;
  int64_t ldr;
  float* y;
  int64_t ldy;
  int64_t n;
  int64_t k;
  Activation activation;
};

// The same with x and w in fewer bits, by the functions of one NarrowKernels: f32 sums of bf16 products,
// exact integer sums of int8 ones; GELU to 2e-5, which is less than what rounding its result to so few bits
// takes.
//   x: rows as encode() left them; packed_w: as pack() left it; y [M, N] f32 with row stride ldy, or null;
//   bf16_y: M rows of N as the bf16 encode() leaves them, row_bytes(N) each, or null. N is even where it is
//   wanted.
struct NarrowGemm {
  const void* x;
  const void* packed_w;
  const float* bias;
  const float* residual;
  int64_t ldr;
  float* y;
  int64_t ldy;
  void* bf16_y;
  int64_t n;
  int64_t k;
  Activation activation;
};

// Weights along k in groups that share a scale.
constexpr int64_t kWeightGroup = 32;

// w[n,k] = scale[n,k/32] q[n,k] + offset[n,k/32], q in [0, 15]; or scale (q - 128), q in [0, 255], where
// offset is null. Scales and offsets are numbers that f16 holds. All row-major.
struct GroupedWeights {
  const uint8_t* q;
  const float* scale;
  const float* offset;
};

// Matrices of one narrow precision. Where the processor has no instructions for it, wider ones do the same
// sums.
struct NarrowKernels {
  // Weights [N, K] row-major f32 -> packed, packed_bytes(N, K) of it, in the table's panels.
  int64_t (*packed_bytes)(int64_t n, int64_t k);
  void (*pack)(const float* w, int64_t n, int64_t k, void* packed);
  // The same of weights in groups, whose K is a multiple of kWeightGroup. Exactly one of the two is not null.
  void (*pack_groups)(const GroupedWeights& w, int64_t n, int64_t k, void* packed);

  // Rows [rows, K] f32 -> encoded, row_bytes(K) each. bf16: rounded to the nearest. int8: x[k], or x[k]
  // factor[k] where factors are given, times 127 / the row's largest, rounded to the nearest, and what undoes
  // that; a row with a number that is not finite makes results that are not. In groups: as int8, with a scale
  // for each group, and without factors.
  int64_t (*row_bytes)(int64_t k);
  void (*encode)(const float* x, int64_t rows, int64_t k, const float* factor, void* encoded);

  // As Kernels::row_tile and Kernels::gemm.
  int64_t row_tile;
  void (*gemm)(const NarrowGemm& gemm, int64_t row_begin, int64_t row_end, int64_t col_begin,
               int64_t col_end);

  // As Kernels::peak_flops.
  int64_t (*peak_ops)(int64_t rounds);
};

// One head of one sequence, for some of its queries or all:
//
//   out[i] = sum_j softmax_j(scale q[i].k[j] + bias[i,j]) v[j],  j in [0, length), |i - j| <= window
//
//   q, out [queries, D], rows [first_query, first_query + queries) of the sequence's; k, v [L, D]; q, k and v
//   with row stride ld, out with ldo. window 0: no limit. bias: null, or where row first_query begins, the
//   next ones bias_stride floats further on each: -1 for a bias of j - i alone. scratch: attention_scratch(L,
//   D) floats. Keys are taken in blocks with a running maximum (Milakov & Gimelshein 2018, arXiv:1805.02867),
//   so memory grows with L and not with its square. |error| <= 2e-6 max|v|.
struct Attention {
  const float* q;
  const float* k;
  const float* v;
  int64_t ld;
  float* out;
  int64_t ldo;
  int64_t length;
  int64_t head_dim;
  float scale;
  float* scratch;
  int64_t queries;
  int64_t first_query = 0;
  int64_t window = 0;
  const float* bias = nullptr;
  int64_t bias_stride = 0;
};

// Tokens in one block of a cache of keys and values. A block holds, for one KV head, the keys as panels
// [kCacheBlock / panel_columns][D][panel_columns] and then the values [kCacheBlock][D], in the cache's type.
inline constexpr int64_t kCacheBlock = 32;

// What keys and values are stored in. bf16: rounded to the nearest. int8: times 127 / the largest of the
// token's key (value), rounded to the nearest; behind the values come f32 scales that undo it, for keys
// [kCacheBlock] and for values [kCacheBlock]. What has a number that is not finite is read as one that is
// not.
enum class KvType : int32_t { kF32, kBf16, kInt8 };
// A key or value whose largest number is smaller is nothing in int8.
inline constexpr float kLeastScaled = 1e-30f;

// Query heads of one KV head over one sequence whose keys and values lie in blocks:
//
//   out[t,g] = sum_j softmax_j(cap(scale q[t,g].k[j])) v[j],  j in [max(0, p - window + 1), p],  p = position
//   + t
//
//   q [rows, G, D] with row stride ldq, out alike with ldo; block b of the sequence is at
//   cache + blocks[b] * block_bytes, in `type`; window 0: no limit; cap(s) = soft_cap tanh(s / soft_cap), 0:
//   s itself; scratch: paged_attention_scratch(G, D) floats. Keys are taken in chunks from the sequence's
//   start with a running maximum, so the answer of a position does not depend on what else is computed with
//   it. Numbers of every type are f32 once they are read. |error| <= 4e-6 max|v|, k and v being what is
//   stored.
struct PagedAttention {
  const float* q;
  int64_t ldq;
  const void* cache;
  const int32_t* blocks;
  int64_t block_bytes;
  KvType type;
  float* out;
  int64_t ldo;
  int64_t rows;
  int64_t group;
  int64_t head_dim;
  int64_t position;
  int64_t window;
  float scale;
  float soft_cap;
  float* scratch;
};

// What language models need besides.
struct DecoderKernels {
  // y[t,c] = x[t,c] / sqrt(mean_c x[t,c]^2 + eps) gain[c]       (Zhang & Sennrich 2019, arXiv:1910.07467)
  //   x, y [rows, C] with row stride C, may be the same. |error| <= 4e-6 |y|max.
  void (*rms_norm)(const float* x, const float* gain, float eps, int64_t rows, int64_t c, float* y);

  // Rotary positions (Su et al. 2021, arXiv:2104.09864), the halves of a head against each other: for i <
  // half
  //   x[i], x[i + half] = x[i] cos[i] - x[i + half] sin[i], x[i + half] cos[i] + x[i] sin[i]
  //   x [heads, D], in place; 2 half <= D, what is beyond stays.
  void (*rotate)(float* x, int64_t heads, int64_t head_dim, int64_t half, const float* cosine,
                 const float* sine);

  // y[t,i] = act(x[t,i]) x[t,N + i], i < N                      (Shazeer 2020, arXiv:2002.05202)
  //   x [rows, 2N], y [rows, N], which may begin where x does. |error| <= 4e-7 max(1, |act x|) |x[t,N + i]|.
  void (*gate)(const float* x, int64_t rows, int64_t n, Activation activation, float* y);
  // y[i] = act(x[i]), i < N; may be the same. The bits of a GEMM that ends in the activation.
  void (*activate)(const float* x, int64_t n, Activation activation, float* y);

  // What one KV head takes of a block: a multiple of 4.
  int64_t (*kv_bytes)(KvType type, int64_t head_dim);
  // One token's key and value [D] of one KV head to its slot, in [0, kCacheBlock), of a block.
  void (*store_key_value)(KvType type, const float* key, const float* value, int64_t head_dim, int64_t slot,
                          void* block);

  int64_t (*paged_attention_scratch)(int64_t group, int64_t head_dim);
  void (*paged_attention)(const PagedAttention& attention);
};

struct Kernels {
  const char* name;

  // Weights [N, K] row-major -> packed, in panels of panel_columns columns (the last one padded with zeros):
  // packed[p][k][c] = w[p * panel_columns + c][k]. packed holds ceil(N / panel_columns) * panel_columns * K
  // floats.
  int64_t panel_columns;
  void (*pack_weights)(const float* w, int64_t n, int64_t k, float* packed);

  // Rows [row_begin, row_end) and columns [col_begin, col_end) of y; col_begin is a multiple of
  // panel_columns. row_tile: the number of rows that one pass over a panel covers; row ranges that are
  // multiples of it run fastest.
  int64_t row_tile;
  void (*gemm)(const Gemm& gemm, int64_t row_begin, int64_t row_end, int64_t col_begin, int64_t col_end);

  // y[t,c] = (x[t,c] - mean_t) / sqrt(var_t + eps) * gain[c] + bias[c]           (Ba et al. 2016,
  // arXiv:1607.06450)
  //   x, y [rows, C] with row stride C, may be the same; the variance is the mean of squared distances, two
  //   passes. |error| <= 4e-6 max|normalised| |gain| for C up to 8192.
  void (*layer_norm)(const float* x, const float* gain, const float* bias, float eps, int64_t rows, int64_t c,
                     float* y);

  // y[i] = exp(x[i] - max x) / sum_j exp(x[j] - max x), in place, n >= 1. |error| <= 1e-6 relative to the
  // largest.
  void (*softmax)(float* x, int64_t n);

  // y[i] = x[i] Phi(x[i]), in place. The same formula as the GEMM's epilogue.
  void (*gelu)(float* x, int64_t n);

  int64_t (*attention_scratch)(int64_t length, int64_t head_dim);
  void (*attention)(const Attention& attention);
  // For encoders whose matrices are narrow: the same of q, k and v rounded to bf16, |error| <= 2^-8 max|v|;
  // or attention() itself, where the processor would gain nothing.
  void (*narrow_attention)(const Attention& attention);

  // y[c] = sum_t x[t,c] / rows, t ascending. x [rows, C], rows >= 1.
  void (*mean_pool)(const float* x, int64_t rows, int64_t c, float* y);

  // y[c] = x[c] / max(|x|_2, 1e-12). x and y may be the same.
  void (*l2_normalize)(const float* x, int64_t c, float* y);

  // y[c] = a[c] + b[c] + d[c]. No overlap but y with an input, exactly.
  void (*add3)(const float* a, const float* b, const float* d, int64_t c, float* y);

  // Runs `rounds` rounds of independent multiply-adds on registers and returns their number of floating-point
  // operations; the clock is the caller's. Results divided by this rate are a share of the machine's peak.
  int64_t (*peak_flops)(int64_t rounds);

  NarrowKernels bf16;
  NarrowKernels int8;
  NarrowKernels q8;  // weights of 8 and of 4 bits in groups
  NarrowKernels q4;
  DecoderKernels decoder;
  PixelKernels pixels;
  // Whether this table has the processor's own instructions for bf16: then it is the faster precision.
  bool has_bf16;
};

}  // namespace headrace
