// The kernels of one instruction set. CMake compiles this file once per set, with that set's flags and
// the name of the table in HEADRACE_KERNELS_TABLE, its only exported symbol. To stay safe on processors that
// lack the set, it uses no STL, no static initialiser and nothing inline from elsewhere: the linker may keep
// any copy of a shared function.
#include "kernels/kernels.h"

#include "kernels/cpu/decoder.inc.h"
#include "kernels/cpu/grouped.inc.h"
#include "kernels/cpu/narrow.inc.h"
#include "kernels/cpu/narrow_attention.inc.h"
#include "kernels/cpu/pixels.inc.h"
#include "kernels/cpu/rows.inc.h"
#if defined(__AMX_TILE__) || defined(HEADRACE_TILES_EMULATED)
#define HEADRACE_HAS_TILES
#include "kernels/cpu/tile_attention.inc.h"
#include "kernels/cpu/tile_gemm.inc.h"
#include "kernels/cpu/tile_grouped.inc.h"
#endif

namespace headrace {
namespace {

// Enough independent chains to cover the latency of a multiply-add (4 cycles, two a cycle).
int64_t peak_flops(int64_t rounds) {
  constexpr int kChains = 12;
  Vec sums[kChains];
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) sums[i] = splat(static_cast<float>(i));
  const Vec factor = splat(0.999f), step = splat(1e-3f);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sums[i] = mul_add(sums[i], factor, step);
  }
  Vec total = splat(0.0f);
  for (int i = 0; i < kChains; ++i) total = add(total, sums[i]);
  volatile float sink = sum_lanes(total);  // keeps the loop alive
  (void)sink;
  return rounds * kChains * kLanes * 2;
}

// What narrow matrices are multiplied with: tiles where the processor has them, else vectors.
#if defined(HEADRACE_HAS_TILES)
constexpr int64_t kNarrowRows = 2 * kTileRows;
template <typename Format>
constexpr auto kNarrowGemm = tile_gemm<Format>;
template <typename Format>
constexpr auto kGroupedGemm = grouped_tile_gemm<Format>;
template <typename Format>
constexpr auto kNarrowPeak = tile_peak<Format>;
#else
constexpr int64_t kNarrowRows = kRowTile;
template <typename Format>
constexpr auto kNarrowGemm = narrow_gemm<Format>;
template <typename Format>
constexpr auto kGroupedGemm = grouped_gemm<Format>;
template <typename Format>
constexpr auto kNarrowPeak = peak_ops<Format>;
#endif

// Attention in bf16 where its products are fast: in f32 elsewhere.
#if defined(HEADRACE_HAS_TILES)
constexpr auto kAttentionScratch = narrow_attention_scratch<TileProducts>;
constexpr auto kNarrowAttention = narrow_attention<TileProducts>;
#elif defined(__AVX512BF16__)
constexpr auto kAttentionScratch = narrow_attention_scratch<VectorProducts>;
constexpr auto kNarrowAttention = narrow_attention<VectorProducts>;
#else
constexpr auto kAttentionScratch = attention_scratch;
constexpr auto kNarrowAttention = attention;
#endif

}  // namespace

extern const Kernels HEADRACE_KERNELS_TABLE;
constinit const Kernels HEADRACE_KERNELS_TABLE = {
    .name = HEADRACE_KERNELS_NAME,
    .panel_columns = kPanelColumns,
    .pack_weights = pack_weights,
    .row_tile = kRowTile,
    .gemm = gemm,
    .layer_norm = layer_norm,
    .softmax = softmax,
    .gelu = gelu_row,
    .attention_scratch = kAttentionScratch,
    .attention = attention,
    .narrow_attention = kNarrowAttention,
    .mean_pool = mean_pool,
    .l2_normalize = l2_normalize,
    .add3 = add3,
    .peak_flops = peak_flops,
    .bf16 = {packed_bytes<Bf16>, pack_bf16, nullptr, Bf16::row_bytes, encode_bf16, kNarrowRows,
             kNarrowGemm<Bf16>, kNarrowPeak<Bf16>},
    .int8 = {packed_bytes<Int8>, pack_int8, nullptr, Int8::row_bytes, encode_int8, kNarrowRows,
             kNarrowGemm<Int8>, kNarrowPeak<Int8>},
    .q8 = {grouped_packed_bytes<Bytes>, nullptr, pack_groups<Bytes>, grouped_row_bytes, encode_groups,
           kNarrowRows, kGroupedGemm<Bytes>, peak_ops<Int8>},
    .q4 = {grouped_packed_bytes<Nibbles>, nullptr, pack_groups<Nibbles>, grouped_row_bytes, encode_groups,
           kNarrowRows, kGroupedGemm<Nibbles>, peak_ops<Int8>},
    .decoder = {rms_norm, rotate, gate, activate_row, kv_bytes, store_key_value, paged_attention_scratch,
                paged_attention},
    .pixels = {resample_row, resample_column, overlaps_any},
#if defined(__AVX512BF16__)
    .has_bf16 = true,
#else
    .has_bf16 = false,
#endif
};

}  // namespace headrace
