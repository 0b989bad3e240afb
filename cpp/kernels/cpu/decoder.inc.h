// What language models need besides the encoders' kernels: RMS norm, rotary positions, gated activations, and
// attention over keys and values in blocks.
#pragma once

#include "kernels/cpu/kv_block.inc.h"

namespace headrace {
namespace {

void rms_norm(const float* x, const float* gain, float eps, int64_t rows, int64_t c, float* y) {
  for (int64_t row = 0; row < rows; ++row, x += c, y += c) {
    Vec squares[2] = {splat(0.0f), splat(0.0f)};
    int64_t i = 0;
    for (; i + 2 * kLanes <= c; i += 2 * kLanes)
      for (int v = 0; v < 2; ++v) {
        const Vec value = load(x + i + v * kLanes);
        squares[v] = mul_add(value, value, squares[v]);
      }
    for (; i < c; i += kLanes) {
      const Vec value = load_first(x + i, least(kLanes, c - i));
      squares[0] = mul_add(value, value, squares[0]);
    }
    const float mean = sum_lanes(add(squares[0], squares[1])) / static_cast<float>(c);
    const Vec scale = splat(1.0f / __builtin_sqrtf(mean + eps));
    for (i = 0; i < c; i += kLanes) {
      const int64_t count = least(kLanes, c - i);
      store_first(y + i, mul(mul(load_first(x + i, count), scale), load_first(gain + i, count)), count);
    }
  }
}

void rotate(float* x, int64_t heads, int64_t head_dim, int64_t half, const float* cosine, const float* sine) {
  for (int64_t head = 0; head < heads; ++head, x += head_dim)
    for (int64_t i = 0; i < half; i += kLanes) {
      const int64_t count = least(kLanes, half - i);
      const Vec a = load_first(x + i, count), b = load_first(x + half + i, count);
      const Vec c = load_first(cosine + i, count), s = load_first(sine + i, count);
      store_first(x + i, sub(mul(a, c), mul(b, s)), count);
      store_first(x + half + i, mul_add(b, c, mul(a, s)), count);
    }
}

void gate(const float* x, int64_t rows, int64_t n, Activation activation, float* y) {
  for (int64_t row = 0; row < rows; ++row, x += 2 * n, y += n)
    for (int64_t i = 0; i < n; i += kLanes) {
      const int64_t count = least(kLanes, n - i);
      store_first(y + i, mul(activate(load_first(x + i, count), activation), load_first(x + n + i, count)),
                  count);
    }
}

void activate_row(const float* x, int64_t n, Activation activation, float* y) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t count = least(kLanes, n - i);
    store_first(y + i, activate(load_first(x + i, count), activation), count);
  }
}

// Scratch: queries [kQueryTile][D], out [kQueryTile][D], scores [kQueryTile][kKeyBlock], and numbers: a panel
// of keys [D][kPanelColumns], or values [kCacheBlock][kPanelColumns].
int64_t paged_attention_scratch(int64_t, int64_t head_dim) {
  const int64_t longest = head_dim > kCacheBlock ? head_dim : kCacheBlock;
  return kQueryTile * (2 * round_up(head_dim, kLanes) + kKeyBlock) + longest * kPanelColumns;
}

// Some rows of one sequence on their way through its keys. Row r is query head r % group of token r / group.
struct PagedTile {
  const PagedAttention* a;
  int64_t first;  // row
  const float* q;
  float* out;  // [kRows, D]
  float* scores;
  float* numbers;  // keys or values of a block of int8 as f32
  float maximum[kQueryTile], sum[kQueryTile];

  int64_t position(int r) const { return a->position + (first + r) / a->group; }
  const char* block(int64_t token) const {
    return static_cast<const char*>(a->cache) + a->blocks[token / kCacheBlock] * a->block_bytes;
  }
};

// Asks for the beginning of what is read after the block at hand, which lies anywhere: the hardware's own
// prefetcher would find it only once it is read.
inline void prefetch_beginning(const char* p) {
  for (int64_t line = 0; line < 16; ++line) __builtin_prefetch(p + line * 64, 0, 3);
}

template <int kRows>
inline void paged_scores(const PagedTile& t, int64_t key_begin, int64_t key_end) {
  const int64_t d = t.a->head_dim;
  for (int64_t key = key_begin; key < key_end; key += kPanelColumns) {
    const char* const block = t.block(key);
    const int64_t slot = key % kCacheBlock;
    if (slot == 0 && key + kCacheBlock < key_end) prefetch_beginning(t.block(key + kCacheBlock));
    Vec acc[kRows][kPanelVectors];
    if (t.a->type == KvType::kF32) {
      multiply_tile(t.q, d, keys_of<float>(block, slot, d), kPanelColumns, d, acc);
    } else if (t.a->type == KvType::kBf16) {
      multiply_tile(t.q, d, keys_of<uint16_t>(block, slot, d), kPanelColumns, d, acc);
    } else {
      widen_keys(block, slot, d, t.numbers);
      multiply_tile(t.q, d, t.numbers, kPanelColumns, d, acc);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; ++v)
        store(t.scores + r * kKeyBlock + (key - key_begin) + v * kLanes, acc[r][v]);
  }
}

inline void cap_scores(float* scores, int64_t count, float scale, float cap) {
  // tanh(s) = 2 sigmoid(2 s) - 1
  const Vec inner = splat(2.0f * scale / cap), outer = splat(2.0f * cap), shift = splat(-cap);
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t lanes = least(kLanes, count - i);
    store_first(scores + i, mul_add(sigmoid(mul(load_first(scores + i, lanes), inner)), outer, shift), lanes);
  }
}

// Scores of row r over keys [key_begin, key_end) to weights, zeros where it does not look. Returns what its
// earlier output is to be multiplied by.
inline float paged_weights(PagedTile& t, int r, int64_t key_begin, int64_t key_end) {
  const PagedAttention& a = *t.a;
  float* const scores = t.scores + r * kKeyBlock;
  const int64_t last = t.position(r), oldest = a.window > 0 ? last - a.window + 1 : 0;
  const int64_t begin = oldest > key_begin ? least(oldest, key_end) : key_begin;
  const int64_t end = least(last + 1, key_end);
  if (begin >= end) {
    for (int64_t i = 0; i < key_end - key_begin; ++i) scores[i] = 0.0f;
    return 1.0f;
  }
  float* const seen = scores + (begin - key_begin);
  float factor = a.scale * kLog2E;
  if (a.soft_cap > 0) {
    cap_scores(seen, end - begin, a.scale, a.soft_cap);
    factor = kLog2E;
  }
  const float before = t.maximum[r];
  const float sum = exponentiate(seen, end - begin, factor, &t.maximum[r]);
  for (int64_t i = 0; i < begin - key_begin; ++i) scores[i] = 0.0f;
  for (int64_t i = end - key_begin; i < key_end - key_begin; ++i) scores[i] = 0.0f;
  const float old = t.sum[r] > 0 ? __builtin_exp2f(before - t.maximum[r]) : 0.0f;
  t.sum[r] = __builtin_fmaf(t.sum[r], old, sum);
  return old;
}

// out = old out + weights v over keys [key_begin, key_end), kVectors vectors of columns from d on.
template <int kRows, int kVectors>
inline void paged_values(const PagedTile& t, int64_t d, int64_t key_begin, int64_t key_end,
                         const float* old) {
  const int64_t width = t.a->head_dim;
  Vec acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      acc[r][v] = mul(load(t.out + r * width + d + v * kLanes), splat(old[r]));
  for (int64_t key = key_begin; key < key_end; key += kCacheBlock) {
    const int64_t count = least(kCacheBlock, key_end - key);
    const float* const weights = t.scores + (key - key_begin);
    const char* const block = t.block(key);
    if (key + kCacheBlock < key_end)
      prefetch_beginning(t.block(key + kCacheBlock) + values_begin(t.a->type, width));
    if (t.a->type == KvType::kF32) {
      multiply_more(weights, kKeyBlock, values_of<float>(block, d, width), width, count, acc);
    } else if (t.a->type == KvType::kBf16) {
      multiply_more(weights, kKeyBlock, values_of<uint16_t>(block, d, width), width, count, acc);
    } else {
      widen_values<kVectors>(block, count, d, width, t.numbers);
      multiply_more(weights, kKeyBlock, t.numbers, kVectors * kLanes, count, acc);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(t.out + r * width + d + v * kLanes, acc[r][v]);
}

template <int kRows>
inline void paged_values_rest(const PagedTile& t, int64_t d, int64_t key_begin, int64_t key_end,
                              const float* old) {
  const int64_t width = t.a->head_dim;
  for (; d < width; ++d)
    for (int r = 0; r < kRows; ++r) {
      float sum = t.out[r * width + d] * old[r];
      for (int64_t key = key_begin; key < key_end; ++key)
        sum = __builtin_fmaf(t.scores[r * kKeyBlock + key - key_begin],
                             value_at(t.a->type, t.block(key), key % kCacheBlock, d, width), sum);
      t.out[r * width + d] = sum;
    }
}

template <int kRows>
void paged_tile(const PagedAttention& a, int64_t first) {
  const int64_t d = a.head_dim, padded = round_up(d, kLanes);
  float* const queries = a.scratch;
  float* const out = queries + kQueryTile * padded;
  float* const scores = out + kQueryTile * padded;
  PagedTile t{&a, first, queries, out, scores, scores + kQueryTile * kKeyBlock, {}, {}};
  for (int r = 0; r < kRows; ++r) {
    const int64_t token = (first + r) / a.group, head = (first + r) % a.group;
    __builtin_memcpy(queries + r * d, a.q + token * a.ldq + head * d,
                     static_cast<unsigned long>(d) * sizeof(float));
    for (int64_t i = 0; i < d; ++i) t.out[r * d + i] = 0.0f;
    t.maximum[r] = -__builtin_inff();
    t.sum[r] = 0.0f;
  }
  // Keys that no row of the tile looks at are not read: they may be another request's.
  const int64_t stop = t.position(kRows - 1) + 1;
  const int64_t oldest = a.window > 0 ? t.position(0) - a.window + 1 : 0;
  const int64_t start = oldest > 0 ? oldest / kKeyBlock * kKeyBlock : 0;
  for (int64_t chunk = start; chunk < stop; chunk += kKeyBlock) {
    // Blocks before the window may have been given away.
    const int64_t begin = oldest > chunk ? oldest / kCacheBlock * kCacheBlock : chunk;
    const int64_t end = least(chunk + kKeyBlock, stop);
    paged_scores<kRows>(t, begin, end);
    float old[kRows];
    for (int r = 0; r < kRows; ++r) old[r] = paged_weights(t, r, begin, end);
    int64_t column = 0;
    for (; column + kPanelColumns <= d; column += kPanelColumns)
      paged_values<kRows, kPanelVectors>(t, column, begin, end, old);
    for (; column + kLanes <= d; column += kLanes) paged_values<kRows, 1>(t, column, begin, end, old);
    paged_values_rest<kRows>(t, column, begin, end, old);
  }
  for (int r = 0; r < kRows; ++r) {
    float* const to = a.out + (first + r) / a.group * a.ldo + (first + r) % a.group * d;
    const float scale = 1.0f / t.sum[r];
    for (int64_t i = 0; i < d; ++i) to[i] = t.out[r * d + i] * scale;
  }
}

using PagedRows = void (*)(const PagedAttention&, int64_t);
constexpr PagedRows kPagedRows[] = {paged_tile<1>, paged_tile<2>, paged_tile<3>,
                                    paged_tile<4>, paged_tile<5>, paged_tile<6>,
#if defined(__AVX512F__)
                                    paged_tile<7>, paged_tile<8>
#endif
};

void paged_attention(const PagedAttention& a) {
  const int64_t rows = a.rows * a.group, tiles = (rows + kQueryTile - 1) / kQueryTile;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t begin = rows * tile / tiles, end = rows * (tile + 1) / tiles;
    kPagedRows[end - begin - 1](a, begin);
  }
}

}  // namespace
}  // namespace headrace
