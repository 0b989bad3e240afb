// Weights of 4 and 8 bits in groups: every table against the reference, whose sums are doubles.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/guarded.h"
#include "kernels/tables.h"

namespace headrace {
namespace {

struct Weights {
  Weights(int64_t n, int64_t k, bool is_q4, unsigned seed)
      : q(static_cast<size_t>(n * k)), scale(n * k / kWeightGroup), offset(n * k / kWeightGroup) {
    std::mt19937 random(seed);
    for (uint8_t& value : q) value = static_cast<uint8_t>(random() % (is_q4 ? 16 : 256));
    // Multiples of 2^-10 below 1/2: f16 holds them.
    for (Guarded* halves : {&scale, &offset})
      for (int64_t i = 0; i < halves->size(); ++i)
        (*halves)[i] = static_cast<float>(static_cast<int>(random() % 512) - 256) / 1024.0f;
  }
  std::vector<uint8_t> q;
  Guarded scale, offset;
};

class EachGrouped : public testing::TestWithParam<std::tuple<const Kernels*, bool>> {
 protected:
  const Kernels& table() const { return *std::get<0>(GetParam()); }
  bool is_q4() const { return std::get<1>(GetParam()); }
  const NarrowKernels& of(const Kernels& kernels) const { return is_q4() ? kernels.q4 : kernels.q8; }

  void run(const Kernels& kernels, int64_t m, int64_t n, int64_t k, Weights& w, Guarded& x, Guarded* residual,
           float* y, int64_t row_block, int64_t column_blocks) {
    const NarrowKernels& functions = of(kernels);
    Guarded packed((functions.packed_bytes(n, k) + 3) / 4), rows((m * functions.row_bytes(k) + 3) / 4);
    functions.pack_groups({w.q.data(), w.scale.data(), is_q4() ? w.offset.data() : nullptr}, n, k,
                          packed.data());
    functions.encode(x.data(), m, k, nullptr, rows.data());
    const NarrowGemm gemm{.x = rows.data(),
                          .packed_w = packed.data(),
                          .bias = nullptr,
                          .residual = residual ? residual->data() : nullptr,
                          .ldr = n,
                          .y = y,
                          .ldy = n,
                          .bf16_y = nullptr,
                          .n = n,
                          .k = k,
                          .activation = Activation::kNone};
    const int64_t panels = (n + kernels.panel_columns - 1) / kernels.panel_columns;
    for (int64_t row = 0; row < m; row += row_block)
      for (int64_t block = 0; block < column_blocks; ++block)
        functions.gemm(gemm, row, std::min(m, row + row_block),
                       panels * block / column_blocks * kernels.panel_columns,
                       std::min(n, panels * (block + 1) / column_blocks * kernels.panel_columns));
  }
};

std::string name(const testing::TestParamInfo<std::tuple<const Kernels*, bool>>& info) {
  return std::string(std::get<0>(info.param)->name) + (std::get<1>(info.param) ? "_q4" : "_q8");
}

INSTANTIATE_TEST_SUITE_P(Kernels, EachGrouped,
                         testing::Combine(testing::ValuesIn(tables_under_test()), testing::Bool()), name);

TEST_P(EachGrouped, gemm_is_that_of_the_reference) {
  const Kernels& reference = *runnable_kernels().back();
  for (const int64_t k : {32, 64, 576})
    for (const int64_t n : {1, 15, 32, 33, 95})
      for (const int64_t m : {1, 2, 3, 5, 6, 7, 13, 16, 17, 25, 32, 33, 41, 75}) {
        if (m > 13 && n != 15 && n != 95) continue;
        Weights w(n, k, is_q4(), 1);
        Guarded x(m * k), residual(m * n);
        x.randomize(2, -3.0f, 3.0f);
        residual.randomize(3);
        std::vector<float> y(static_cast<size_t>(m * n)), expected(y.size()), cut(y.size());
        run(table(), m, n, k, w, x, &residual, y.data(), m, 1);
        run(reference, m, n, k, w, x, &residual, expected.data(), m, 1);
        // Sums of k / 32 groups in f32, each of at most 32 * 3 * 15 / 4 or so.
        const float bound = 2e-6f * static_cast<float>(k) * (is_q4() ? 20.0f : 100.0f);
        for (size_t i = 0; i < y.size(); ++i)
          ASSERT_NEAR(y[i], expected[i], bound) << k << " " << n << " " << m;
        run(table(), m, n, k, w, x, &residual, cut.data(), 1, 3);
        ASSERT_EQ(std::memcmp(y.data(), cut.data(), y.size() * sizeof(float)), 0) << "a row alone";
      }
}

TEST_P(EachGrouped, the_largest_numbers_do_not_overflow) {
  const int64_t k = 64, n = 33;
  Weights w(n, k, is_q4(), 1);
  for (const uint8_t q : {uint8_t{0}, static_cast<uint8_t>(is_q4() ? 15 : 255)}) {
    for (uint8_t& value : w.q) value = q;
    for (int64_t i = 0; i < w.scale.size(); ++i) w.scale[i] = 1.0f, w.offset[i] = 0.0f;
    for (const float value : {1.0f, -1.0f}) {
      Guarded x(k);
      for (int64_t i = 0; i < k; ++i) x[i] = value;
      std::vector<float> y(n);
      run(table(), 1, n, k, w, x, nullptr, y.data(), 1, 1);
      const float weight = is_q4() ? q : static_cast<float>(q) - 128.0f;
      for (const float sum : y) ASSERT_NEAR(sum, value * weight * static_cast<float>(k), 1e-2f);
    }
  }
}

TEST_P(EachGrouped, a_row_that_is_not_finite_is_seen) {
  const int64_t k = 64, n = 5;
  Weights w(n, k, is_q4(), 1);
  for (const float bad : {std::nanf(""), HUGE_VALF}) {
    Guarded x(2 * k);
    x.randomize(1);
    x[k + 40] = bad;
    std::vector<float> y(2 * n);
    run(table(), 2, n, k, w, x, nullptr, y.data(), 2, 1);
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_TRUE(std::isfinite(y[static_cast<size_t>(i)]));
      EXPECT_FALSE(std::isfinite(y[static_cast<size_t>(n + i)]));
    }
  }
}

}  // namespace
}  // namespace headrace
