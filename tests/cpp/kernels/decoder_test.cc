// The decoders' kernels of every table this processor can run, against the reference's plain loops.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/guarded.h"

namespace headrace {
namespace {

const Kernels& reference() { return *runnable_kernels().back(); }

class EachDecoderTable : public testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& table() const { return *GetParam(); }
  const DecoderKernels& kernels() const { return GetParam()->decoder; }
};

std::string table_name(const testing::TestParamInfo<const Kernels*>& info) { return info.param->name; }

INSTANTIATE_TEST_SUITE_P(Kernels, EachDecoderTable,
                         testing::ValuesIn(runnable_kernels().begin(), runnable_kernels().end()), table_name);

constexpr int64_t kSizes[] = {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 576, 1001};

TEST_P(EachDecoderTable, rms_norm) {
  for (const int64_t c : kSizes) {
    Guarded x(3 * c), gain(c), y(3 * c), expected(3 * c);
    x.randomize(1, -3.0f, 5.0f);
    gain.randomize(2);
    kernels().rms_norm(x.data(), gain.data(), 1e-5f, 3, c, y.data());
    reference().decoder.rms_norm(x.data(), gain.data(), 1e-5f, 3, c, expected.data());
    for (int64_t i = 0; i < 3 * c; ++i) ASSERT_NEAR(y[i], expected[i], 4e-6f * 4) << c << " at " << i;
    kernels().rms_norm(x.data(), gain.data(), 1e-5f, 3, c, x.data());
    for (int64_t i = 0; i < 3 * c; ++i) ASSERT_EQ(x[i], y[i]) << "in place";
  }
}

TEST_P(EachDecoderTable, rotate_leaves_what_is_beyond_both_halves) {
  for (const int64_t half : {1, 8, 15, 16, 32, 33})
    for (const int64_t beyond : {0, 5}) {
      const int64_t d = 2 * half + beyond;
      Guarded x(3 * d), expected(3 * d), cosine(half), sine(half);
      x.randomize(1);
      expected.randomize(1);
      cosine.randomize(2);
      sine.randomize(3);
      kernels().rotate(x.data(), 3, d, half, cosine.data(), sine.data());
      reference().decoder.rotate(expected.data(), 3, d, half, cosine.data(), sine.data());
      for (int64_t i = 0; i < 3 * d; ++i) ASSERT_NEAR(x[i], expected[i], 3e-7f) << half << " at " << i;
    }
}

TEST_P(EachDecoderTable, gate) {
  for (const Activation activation : {Activation::kSilu, Activation::kGeluTanh, Activation::kGelu,
                                      Activation::kQuickGelu, Activation::kNone})
    for (const int64_t n : kSizes) {
      Guarded x(2 * 2 * n), y(2 * n), expected(2 * n);
      x.randomize(1, -12.0f, 12.0f);
      kernels().gate(x.data(), 2, n, activation, y.data());
      reference().decoder.gate(x.data(), 2, n, activation, expected.data());
      for (int64_t i = 0; i < 2 * n; ++i) {
        const float scale = std::max(1.0f, std::abs(x[i / n * 2 * n + i % n] * x[i / n * 2 * n + n + i % n]));
        ASSERT_NEAR(y[i], expected[i], 4e-7f * scale) << n << " at " << i;
      }
    }
}

TEST_P(EachDecoderTable, an_activation_alone_has_the_bits_of_one_behind_a_gemm) {
  for (const Activation activation : {Activation::kSilu, Activation::kGeluTanh, Activation::kGelu,
                                      Activation::kQuickGelu, Activation::kNone})
    for (const int64_t n : kSizes) {
      // One input, weights that are the numbers.
      Guarded one(1), x(n), y(n), expected(n);
      one.randomize(1, 1.0f, 1.0f);
      x.randomize(2, -12.0f, 12.0f);
      const int64_t columns = (n + table().panel_columns - 1) / table().panel_columns;
      Guarded packed(columns * table().panel_columns);
      table().pack_weights(x.data(), n, 1, packed.data());
      table().gemm({.x = one.data(),
                    .ldx = 1,
                    .packed_w = packed.data(),
                    .y = expected.data(),
                    .ldy = n,
                    .n = n,
                    .k = 1,
                    .activation = activation},
                   0, 1, 0, n);
      kernels().activate(x.data(), n, activation, y.data());
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], expected[i]) << n << " at " << i;
    }
}

TEST_P(EachDecoderTable, gate_of_the_largest_numbers) {
  const float nan = std::nanf(""), inf = HUGE_VALF;
  std::vector<float> x{-1000.0f, 1000.0f, -0.0f, nan, inf, 1, 2, 3, 4, 5}, y(5);
  for (const Activation activation : {Activation::kSilu, Activation::kGeluTanh}) {
    kernels().gate(x.data(), 1, 5, activation, y.data());
    EXPECT_NEAR(y[0], 0.0f, 1e-30f);
    EXPECT_EQ(y[1], 2000.0f);
    EXPECT_EQ(y[2], 0.0f);
    EXPECT_TRUE(std::isnan(y[3]));
    EXPECT_EQ(y[4], inf);
  }
}

// A cache with one KV head whose blocks are given out in a shuffled order.
struct Cache {
  Cache(const Kernels& table, KvType type, int64_t tokens, int64_t head_dim, Guarded& keys, Guarded& values)
      : block_floats(table.decoder.kv_bytes(type, head_dim) / 4),
        data((tokens + kCacheBlock - 1) / kCacheBlock * block_floats) {
    const auto count = static_cast<int32_t>((tokens + kCacheBlock - 1) / kCacheBlock);
    for (int32_t b = 0; b < count; ++b) blocks.push_back((b * 7 + 3) % count);
    std::sort(blocks.begin(), blocks.end());
    std::reverse(blocks.begin(), blocks.end());
    // What nobody wrote must not matter.
    for (int64_t i = 0; i < data.size(); ++i) data[i] = std::nanf("");
    for (int64_t t = 0; t < tokens; ++t)
      table.decoder.store_key_value(
          type, keys.data() + t * head_dim, values.data() + t * head_dim, head_dim, t % kCacheBlock,
          data.data() + blocks[static_cast<size_t>(t / kCacheBlock)] * block_floats);
    blocks.reserve(blocks.size());
  }
  int64_t block_floats;
  Guarded data;
  std::vector<int32_t> blocks;
};

struct PagedCase {
  int64_t tokens, rows, group, head_dim, window;
  float soft_cap;
};

std::vector<float> attend(const Kernels& table, KvType type, const PagedCase& c, Guarded& q, Guarded& keys,
                          Guarded& values, int64_t begin, int64_t end) {
  Cache cache(table, type, c.tokens, c.head_dim, keys, values);
  const int64_t ld = c.group * c.head_dim + 3;
  Guarded scratch(table.decoder.paged_attention_scratch(c.group, c.head_dim));
  std::vector<float> out(static_cast<size_t>((end - begin) * ld), -7.0f);
  table.decoder.paged_attention({.q = q.data() + begin * ld,
                                 .ldq = ld,
                                 .cache = cache.data.data(),
                                 .blocks = cache.blocks.data(),
                                 .block_bytes = cache.block_floats * 4,
                                 .type = type,
                                 .out = out.data(),
                                 .ldo = ld,
                                 .rows = end - begin,
                                 .group = c.group,
                                 .head_dim = c.head_dim,
                                 .position = c.tokens - c.rows + begin,
                                 .window = c.window,
                                 .scale = 0.3f,
                                 .soft_cap = c.soft_cap,
                                 .scratch = scratch.data()});
  return out;
}

constexpr KvType kKvTypes[] = {KvType::kF32, KvType::kBf16, KvType::kInt8};

TEST_P(EachDecoderTable, paged_attention) {
  const PagedCase cases[] = {
      {1, 1, 1, 8, 0, 0},     {33, 1, 3, 64, 0, 0},      {70, 70, 3, 64, 0, 0},
      {600, 5, 2, 80, 0, 0},  {1100, 40, 3, 33, 0, 0},   {600, 3, 4, 64, 100, 0},
      {70, 70, 1, 16, 20, 0}, {1100, 9, 7, 128, 513, 0}, {530, 20, 2, 64, 0, 5.0f},
  };
  for (const KvType type : kKvTypes)
    for (const PagedCase& c : cases) {
      const int64_t ld = c.group * c.head_dim + 3;
      Guarded q(c.rows * ld), keys(c.tokens * c.head_dim), values(c.tokens * c.head_dim);
      q.randomize(1, -2.0f, 2.0f);
      keys.randomize(2);
      values.randomize(3);
      const std::vector<float> expected = attend(reference(), type, c, q, keys, values, 0, c.rows);
      const std::vector<float> out = attend(table(), type, c, q, keys, values, 0, c.rows);
      for (size_t i = 0; i < out.size(); ++i)
        ASSERT_NEAR(out[i], expected[i], 4e-6f) << c.tokens << " tokens, at " << i;
      // A row alone: the same bits.
      for (const int64_t row : {int64_t{0}, c.rows / 2, c.rows - 1}) {
        const std::vector<float> alone = attend(table(), type, c, q, keys, values, row, row + 1);
        for (int64_t i = 0; i < c.group * c.head_dim; ++i)
          ASSERT_EQ(alone[static_cast<size_t>(i)], out[static_cast<size_t>(row * ld + i)]) << "row " << row;
      }
    }
}

// With one key to look at, attention gives its value as it was stored.
std::vector<float> stored(const Kernels& table, KvType type, Guarded& value) {
  const int64_t d = value.size();
  Guarded q(d + 3), key(d);
  key.randomize(1);
  return attend(table, type, {1, 1, 1, d, 0, 0}, q, key, value, 0, 1);
}

TEST_P(EachDecoderTable, fewer_bits_round_to_the_nearest_and_take_less_memory) {
  constexpr int64_t kWidth = 67;
  Guarded value(kWidth);
  value.randomize(5, -3.0f, 3.0f);
  float largest = 0;
  for (int64_t i = 0; i < kWidth; ++i) largest = std::max(largest, std::abs(value[i]));
  const auto f32 = stored(table(), KvType::kF32, value), bf16 = stored(table(), KvType::kBf16, value),
             int8 = stored(table(), KvType::kInt8, value);
  for (int64_t i = 0; i < kWidth; ++i) {
    const auto at = static_cast<size_t>(i);
    EXPECT_EQ(f32[at], value[i]);
    EXPECT_NEAR(bf16[at], value[i], std::abs(value[i]) / 256);
    EXPECT_NEAR(int8[at], value[i], 0.501f * largest / 127);
  }
  const int64_t whole = kernels().kv_bytes(KvType::kF32, 64);
  EXPECT_EQ(whole, 2 * kCacheBlock * 64 * 4);
  EXPECT_EQ(kernels().kv_bytes(KvType::kBf16, 64) * 2, whole);
  EXPECT_LT(static_cast<double>(kernels().kv_bytes(KvType::kInt8, 64)), 0.27 * static_cast<double>(whole));
}

TEST_P(EachDecoderTable, numbers_that_are_none_stay_so_and_zeros_are_zeros) {
  for (const KvType type : kKvTypes) {
    for (const float damage : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
      Guarded value(20);
      value.randomize(1);
      value[7] = damage;
      const auto out = stored(table(), type, value);
      EXPECT_FALSE(std::isfinite(out[7])) << damage;
    }
    for (const float small : {0.0f, 1e-40f, -1e-38f}) {
      Guarded value(20);
      for (int64_t i = 0; i < 20; ++i) value[i] = small;
      for (int64_t i = 0; i < 20; ++i) EXPECT_NEAR(stored(table(), type, value)[7], 0, 1e-37f);
    }
  }
}

}  // namespace
}  // namespace headrace
