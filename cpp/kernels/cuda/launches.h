// The table by launches of the kernels: grids, threads, and which instance of a template. Written once;
// Machine says what a launch, memory and a copy are: CUDA's (kernels.cu), or the emulator's (tests/cuda).
#pragma once

#include <algorithm>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/device_table.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/paged.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/sampling.h"

namespace headrace::cuda {

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

// Machine has everything of DeviceTable up to the recordings, and
//   template <typename Kernel, typename... Arguments>
//   void launch(Grid grid, unsigned threads, Kernel kernel, Arguments... arguments);
template <typename Machine>
class Launches final : public Machine {
 public:
  using Machine::Machine;

  void embed(const DeviceEmbedding& e, int64_t rows, int64_t c, float* y) override {
    run({blocks(rows)}, row_threads(c), cuda::embed, e.words, e.positions, e.types, e.ids, e.places, e.kinds,
        c, y);
  }
  void layer_norm(const float* x, const float* gain, const float* bias, float eps, int64_t rows, int64_t c,
                  float* y) override {
    run({blocks(rows)}, row_threads(c), cuda::layer_norm, x, gain, bias, eps, c, y);
  }
  void rms_norm(const float* x, const float* gain, float eps, int64_t rows, int64_t c, float* y) override {
    run({blocks(rows)}, row_threads(c), cuda::rms_norm, x, gain, eps, c, y);
  }
  void rms_norm_heads(float* x, int64_t ld, const float* gain, float eps, int64_t rows, int64_t heads,
                      int64_t head_dim) override {
    run({blocks(heads), blocks(rows)}, kWarp, cuda::rms_norm_heads, x, ld, gain, eps, head_dim);
  }
  void mean_pool(const float* x, const int32_t* cu_lengths, int64_t sequences, int64_t c, float* y) override {
    run({blocks(sequences), blocks(c, kWide)}, kWide, cuda::mean_pool, x, cu_lengths, c, y);
  }
  void gate(const float* x, int64_t rows, int64_t n, Activation activation, float* y) override {
    run({blocks(rows * n, kWide)}, kWide, cuda::gate, x, rows, n, activation, y);
  }
  void add(const float* x, int64_t count, float* y) override {
    run({blocks(count, kWide)}, kWide, cuda::add, x, count, y);
  }
  void soft_cap(float limit, int64_t count, float* x) override {
    run({blocks(count, kWide)}, kWide, cuda::soft_cap, limit, count, x);
  }
  void rotate(const DeviceRotation& r, int64_t rows) override {
    run({blocks(rows)}, row_threads(r.heads * r.half), cuda::rotate, r.x, r.ld, r.heads, r.head_dim, r.half,
        r.places, r.cosine, r.sine);
  }
  void encode_bf16(const float* x, int64_t count, Bf16* y) override {
    run({blocks(count, kWide)}, kWide, cuda::encode_bf16, x, count, y);
  }
  void encode_int8(const float* x, const float* factor, int64_t rows, int64_t k, int8_t* y,
                   float* scale) override {
    run({blocks(rows)}, row_threads(k), cuda::encode_int8, x, factor, k, y, scale);
  }

  void gemm(const DeviceGemm& g) override {
    const GemmEpilogue out{g.bias, g.residual, g.n, g.y, g.n, g.bf16_y, g.activation};
    const Grid tiles{blocks(g.n, GemmTensor::kTile), blocks(g.m, GemmTensor::kTile)};
    switch (g.type) {
      case WeightType::kF32:
        return run(tiles, GemmF32::kThreads, cuda::gemm_f32, static_cast<const float*>(g.x),
                   static_cast<const float*>(g.w), g.m, g.n, g.k, out);
      case WeightType::kBf16:
        return run(tiles, GemmTensor::kThreads, cuda::gemm_bf16, static_cast<const Bf16*>(g.x),
                   static_cast<const Bf16*>(g.w), g.m, g.n, g.k, out);
      case WeightType::kInt8:
        return run(tiles, GemmTensor::kThreads, cuda::gemm_int8, static_cast<const int8_t*>(g.x),
                   static_cast<const int8_t*>(g.w), g.x_scale, g.w_scale, g.m, g.n, g.k, out);
      case WeightType::kQ8:
        return gemm_groups(cuda::gemm_grouped<8>, g);
      case WeightType::kQ4:
        return gemm_groups(cuda::gemm_grouped<4>, g);
    }
  }

  void attention(const RaggedAttention<float>& a, int64_t head_dim, int64_t heads, int64_t sequences,
                 int64_t longest) override {
    const Grid grid{blocks(longest, AttentionF32::kQueries), blocks(heads), blocks(sequences)};
    if (head_dim == 32) run(grid, AttentionF32::kThreads, cuda::attention_f32<32>, a);
    if (head_dim == 64) run(grid, AttentionF32::kThreads, cuda::attention_f32<64>, a);
    if (head_dim == 128) run(grid, AttentionF32::kThreads, cuda::attention_f32<128>, a);
  }
  void attention(const RaggedAttention<Bf16>& a, int64_t head_dim, int64_t heads, int64_t sequences,
                 int64_t longest) override {
    const Grid grid{blocks(longest, AttentionTensor<32>::kTile), blocks(heads), blocks(sequences)};
    if (head_dim == 32) run(grid, AttentionTensor<32>::kThreads, cuda::attention_bf16<32>, a);
    if (head_dim == 64) run(grid, AttentionTensor<64>::kThreads, cuda::attention_bf16<64>, a);
    if (head_dim == 128) run(grid, AttentionTensor<128>::kThreads, cuda::attention_bf16<128>, a);
  }

  void store_keys_values(const DeviceStore& s, int64_t rows) override {
    const unsigned threads = row_threads(s.kv_heads * s.head_dim);
    const int head_dim = static_cast<int>(s.head_dim);
    if (s.type == KvType::kF32)
      run({blocks(rows)}, threads, cuda::store_keys_values<float>, s.keys, s.values, s.ld, s.slots,
          s.kv_heads, head_dim, static_cast<float*>(s.cache), s.block_numbers);
    else
      run({blocks(rows)}, threads, cuda::store_keys_values<Bf16>, s.keys, s.values, s.ld, s.slots, s.kv_heads,
          head_dim, static_cast<Bf16*>(s.cache), s.block_numbers);
  }
  void paged_attention(const PagedRows<float>& a, const PagedShape& shape, float* out) override {
    attend_pages(cuda::paged_attention<float>, a, shape, out);
  }
  void paged_attention(const PagedRows<Bf16>& a, const PagedShape& shape, float* out) override {
    attend_pages(cuda::paged_attention<Bf16>, a, shape, out);
  }

  void sample(float* logits, int64_t count, int64_t vocabulary, const SamplingRow* rows,
              const uint32_t* allowed, int32_t* tokens) override {
    run({blocks(count)}, row_threads(vocabulary), cuda::sample, logits, vocabulary, rows,
        static_cast<const int32_t*>(nullptr), static_cast<const uint8_t*>(nullptr), allowed, tokens);
  }

 private:
  static constexpr unsigned kWide = 256;

  static unsigned blocks(int64_t count, int64_t each = 1) {
    return static_cast<unsigned>((count + each - 1) / each);
  }
  // Of a block that has a row of c numbers.
  static unsigned row_threads(int64_t c) { return std::clamp(blocks(c, kWarp) * kWarp, kWarp, kWide); }

  template <typename Kernel, typename... Arguments>
  void run(Grid grid, unsigned threads, Kernel kernel, Arguments... arguments) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    this->launch(grid, threads, kernel, arguments...);
  }

  // Some rows at a time: as many as a thread keeps sums of.
  template <typename Kernel>
  void gemm_groups(Kernel kernel, const DeviceGemm& g) {
    for (int64_t row = 0; row < g.m; row += kMaxGroupedRows) {
      const int64_t rows = std::min<int64_t>(kMaxGroupedRows, g.m - row), skip = row * g.n;
      const GemmEpilogue out{g.bias,      g.residual == nullptr ? nullptr : g.residual + skip,
                             g.n,         g.y == nullptr ? nullptr : g.y + skip,
                             g.n,         g.bf16_y == nullptr ? nullptr : g.bf16_y + skip,
                             g.activation};
      run({blocks(g.n, 4)}, 4 * kWarp, kernel, static_cast<const float*>(g.x) + row * g.k,
          static_cast<const uint8_t*>(g.w), g.w_scale, g.w_offset, rows, g.n, g.k, out);
    }
  }

  template <typename Kernel, typename Cache>
  void attend_pages(Kernel kernel, const PagedRows<Cache>& a, const PagedShape& shape, float* out) {
    const int64_t heads = a.kv_heads * shape.group;
    const int head_dim = static_cast<int>(shape.head_dim);
    run({blocks(shape.splits), blocks(a.kv_heads), blocks(shape.rows)}, PagedTensor::kThreads, kernel, a,
        static_cast<int>(shape.group), head_dim, shape.splits, shape.blocks_per_split);
    run({blocks(heads), blocks(shape.rows)}, row_threads(shape.head_dim), cuda::combine_splits, a.sums,
        a.most, a.weight, shape.splits, head_dim, heads, out, heads * shape.head_dim);
  }
};

}  // namespace headrace::cuda
