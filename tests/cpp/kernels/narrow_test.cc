// bf16 and int8 GEMMs of every table against the reference's, and what encoding a row loses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/guarded.h"
#include "kernels/tables.h"

namespace headrace {
namespace {

const Kernels& reference() { return *runnable_kernels().back(); }

struct Case {
  int64_t m, n, k;
  Activation activation;
  bool bias, residual;
};

struct Inputs {
  Inputs(const Case& c, unsigned seed) : x(c.m * c.k), w(c.n * c.k), bias(c.n), residual(c.m * c.n) {
    x.randomize(seed, -2.0f, 2.0f);
    w.randomize(seed + 1);
    bias.randomize(seed + 2);
    residual.randomize(seed + 3);
  }
  Guarded x, w, bias, residual;
};

// Bytes with an unreadable page behind them.
struct Bytes {
  explicit Bytes(int64_t bytes) : floats((bytes + 3) / 4), begin(reinterpret_cast<char*>(floats.data())) {
    // To end where the page ends, up to four bytes.
    begin += (bytes + 3) / 4 * 4 - bytes;
  }
  Guarded floats;
  char* begin;
};

class EachNarrow : public testing::TestWithParam<std::tuple<const Kernels*, bool>> {
 protected:
  const Kernels& table() const { return *std::get<0>(GetParam()); }
  bool is_int8() const { return std::get<1>(GetParam()); }
  const NarrowKernels& narrow(const Kernels& kernels) const {
    return is_int8() ? kernels.int8 : kernels.bf16;
  }

  void run(const Kernels& kernels, const Case& c, Inputs& in, float* y, int64_t row_block,
           int64_t column_blocks, void* bf16_y = nullptr, const float* factor = nullptr) {
    const NarrowKernels& functions = narrow(kernels);
    // Four bytes' alignment is what rows and panels may count on.
    Bytes packed((functions.packed_bytes(c.n, c.k) + 3) / 4 * 4);
    Bytes rows((c.m * functions.row_bytes(c.k) + 3) / 4 * 4);
    functions.pack(in.w.data(), c.n, c.k, packed.begin);
    functions.encode(in.x.data(), c.m, c.k, factor, rows.begin);
    const NarrowGemm gemm{.x = rows.begin,
                          .packed_w = packed.begin,
                          .bias = c.bias ? in.bias.data() : nullptr,
                          .residual = c.residual ? in.residual.data() : nullptr,
                          .ldr = c.n,
                          .y = y,
                          .ldy = c.n,
                          .bf16_y = bf16_y,
                          .n = c.n,
                          .k = c.k,
                          .activation = c.activation};
    const int64_t panels = (c.n + kernels.panel_columns - 1) / kernels.panel_columns;
    for (int64_t row = 0; row < c.m; row += row_block)
      for (int64_t block = 0; block < column_blocks; ++block)
        functions.gemm(gemm, row, std::min(c.m, row + row_block),
                       panels * block / column_blocks * kernels.panel_columns,
                       std::min(c.n, panels * (block + 1) / column_blocks * kernels.panel_columns));
  }
};

INSTANTIATE_TEST_SUITE_P(Kernels, EachNarrow,
                         testing::Combine(testing::ValuesIn(tables_under_test()), testing::Bool()),
                         [](const auto& each) {
                           return std::string(std::get<0>(each.param)->name) +
                                  (std::get<1>(each.param) ? "_int8" : "_bf16");
                         });

TEST_P(EachNarrow, gemm_matches_the_reference) {
  std::vector<Case> cases;
  for (const int64_t m : {1, 2, 6, 7, 13, 14, 15, 29})
    for (const int64_t n : {1, 15, 16, 17, 32, 33, 95})
      cases.push_back({m, n, 37, m % 2 ? Activation::kGelu : Activation::kNone, n % 2 == 1, m % 3 == 0});
  for (const int64_t k : {0, 1, 2, 3, 4, 5, 63, 384, 1536})
    cases.push_back({9, 40, k, Activation::kNone, true, false});
  cases.push_back({43, 129, 1536, Activation::kGelu, true, true});
  // Around the sizes of an AMX tile: 16 rows of 64 bytes.
  for (const int64_t m : {16, 17, 31, 32, 33, 50})
    for (const int64_t k : {32, 64, 100, 192}) cases.push_back({m, 80, k, Activation::kNone, true, true});
  for (const Case& c : cases) {
    Inputs in(c, 1);
    Guarded y(c.m * c.n), expected(c.m * c.n);
    run(table(), c, in, y.data(), 17, 2);
    run(reference(), c, in, expected.data(), c.m, 1);
    for (int64_t row = 0; row < c.m; ++row)
      for (int64_t col = 0; col < c.n; ++col) {
        double magnitude = 1.0;
        for (int64_t i = 0; i < c.k; ++i)
          magnitude += std::abs(static_cast<double>(in.x[row * c.k + i]) * in.w[col * c.k + i]);
        // Integer sums are exact; only what is done with them rounds.
        const double of_sum =
            is_int8() ? 1e-6 * magnitude : 2.0 * static_cast<double>(c.k + 4) * 0x1p-24 * magnitude + 1e-6;
        const double bound = of_sum + (c.activation == Activation::kGelu ? 2e-5 : 0.0);
        ASSERT_NEAR(y[row * c.n + col], expected[row * c.n + col], bound)
            << "m=" << c.m << " n=" << c.n << " k=" << c.k << " at " << row << "," << col;
      }
  }
}

TEST_P(EachNarrow, gelu_is_exact_to_two_in_a_hundred_thousand) {
  // 1, 16 and 32 rows: each way to the end of a sum. The sums are zeros, so that the biases are what it is
  // given.
  for (const int64_t m : {1, 16, 32}) {
    const Case c{m, 6400, 64, Activation::kGelu, true, false};
    Inputs in(c, 1);
    std::fill_n(in.w.data(), c.n * c.k, 0.0f);
    for (int64_t i = 0; i < c.n; ++i) in.bias[i] = -12.8f + static_cast<float>(i) / 250.0f;
    in.bias[0] = -1e30f;
    in.bias[1] = INFINITY;
    in.bias[2] = NAN;
    Guarded y(c.m * c.n);
    run(table(), c, in, y.data(), m, 1);
    const float* const last = y.data() + (m - 1) * c.n;
    EXPECT_NEAR(last[0], 0.0f, 1e-5);
    EXPECT_EQ(last[1], INFINITY);
    EXPECT_TRUE(std::isnan(last[2]));
    for (int64_t i = 3; i < c.n; ++i) {
      const double x = in.bias[i], expected = x * 0.5 * std::erfc(-x / std::sqrt(2.0));
      ASSERT_NEAR(last[i], expected, 2e-5 + 1e-7 * std::abs(expected)) << x;
    }
  }
}

// The same sums, then the same rounding: tables that share the row's encoding agree to the last bit.
TEST(Narrow, int8_is_the_same_on_tiles_and_vectors) {
  const std::vector<const Kernels*> tables = tables_under_test();
  const std::string first = tables.front()->name;
  if (first.rfind("amx", 0) != 0) GTEST_SKIP() << "needs AVX-512 with BF16 and VNNI";
  const Kernels& vectors = kernels_by_name("avx512_bf16");
  const int64_t m = 45, n = 96, k = 200;
  Guarded x(m * k), w(n * k), on_tiles(m * n), on_vectors(m * n);
  x.randomize(50, -3.0f, 3.0f);
  w.randomize(51);
  for (const Kernels* table : {tables.front(), &vectors}) {
    std::vector<char> packed(static_cast<size_t>(table->int8.packed_bytes(n, k))),
        rows(static_cast<size_t>(m * table->int8.row_bytes(k)));
    table->int8.pack(w.data(), n, k, packed.data());
    table->int8.encode(x.data(), m, k, nullptr, rows.data());
    table->int8.gemm({.x = rows.data(),
                      .packed_w = packed.data(),
                      .y = (table == &vectors ? on_vectors : on_tiles).data(),
                      .ldy = n,
                      .n = n,
                      .k = k},
                     0, m, 0, n);
  }
  EXPECT_EQ(std::memcmp(on_tiles.data(), on_vectors.data(), sizeof(float) * static_cast<size_t>(m * n)), 0);
}

TEST_P(EachNarrow, gemm_is_near_the_exact_product) {
  const Case c{20, 48, 768, Activation::kNone, true, true};
  Inputs in(c, 30);
  Guarded y(c.m * c.n);
  run(table(), c, in, y.data(), c.m, 1);
  double error = 0, size = 0;
  for (int64_t row = 0; row < c.m; ++row)
    for (int64_t col = 0; col < c.n; ++col) {
      double exact = in.bias[col] + in.residual[row * c.n + col];
      for (int64_t i = 0; i < c.k; ++i)
        exact += static_cast<double>(in.x[row * c.k + i]) * in.w[col * c.k + i];
      error += std::pow(y[row * c.n + col] - exact, 2);
      size += exact * exact;
    }
  EXPECT_LT(std::sqrt(error / size), is_int8() ? 0.01 : 0.004);
  EXPECT_GT(std::sqrt(error / size), 1e-5);  // it is not f32
}

TEST_P(EachNarrow, gemm_gives_the_same_bits_however_it_is_cut) {
  const Case c{61, 200, 300, Activation::kGelu, true, true};
  Inputs in(c, 5);
  Guarded whole(c.m * c.n), cut(c.m * c.n);
  run(table(), c, in, whole.data(), c.m, 1);
  for (const int64_t row_block : {1, 2, 5, 14, 23}) {
    run(table(), c, in, cut.data(), row_block, 3);
    ASSERT_EQ(std::memcmp(whole.data(), cut.data(), sizeof(float) * whole.size()), 0)
        << "row block " << row_block;
  }
}

TEST_P(EachNarrow, bf16_rows_are_those_of_encode) {
  const Case c{17, 70, 40, Activation::kGelu, true, false};
  Inputs in(c, 9);
  Guarded y(c.m * c.n);
  const int64_t bytes = c.m * table().bf16.row_bytes(c.n);
  std::vector<char> rows(static_cast<size_t>(bytes)), expected(static_cast<size_t>(bytes));
  run(table(), c, in, y.data(), 5, 2, rows.data());
  table().bf16.encode(y.data(), c.m, c.n, nullptr, expected.data());
  EXPECT_EQ(rows, expected);
}

TEST_P(EachNarrow, int8_columns_have_factors_of_their_own) {
  if (!is_int8()) return;  // bf16 has no use for them
  const Case c{9, 21, 70, Activation::kNone, true, false};
  Inputs in(c, 21), scaled(c, 21);
  Guarded factor(c.k), y(c.m * c.n), expected(c.m * c.n);
  factor.randomize(41, 0.5f, 2.0f);
  for (int64_t i = 0; i < c.m * c.k; ++i) scaled.x[i] = in.x[i] * factor[i % c.k];
  run(table(), c, in, y.data(), c.m, 1, nullptr, factor.data());
  run(table(), c, scaled, expected.data(), c.m, 1);
  for (int64_t i = 0; i < c.m * c.n; ++i) ASSERT_EQ(y[i], expected[i]) << i;
}

TEST_P(EachNarrow, numbers_that_are_not_finite_are_not_lost) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    const Case c{3, 20, 33, Activation::kNone, true, false};
    Inputs in(c, 13);
    in.x[33 + 7] = bad;
    Guarded y(c.m * c.n);
    run(table(), c, in, y.data(), c.m, 1);
    for (int64_t col = 0; col < c.n; ++col) {
      EXPECT_TRUE(std::isfinite(y[col]));
      EXPECT_FALSE(std::isfinite(y[c.n + col]));
      EXPECT_TRUE(std::isfinite(y[2 * c.n + col]));
    }
  }
}

TEST_P(EachNarrow, rows_of_zeros_give_the_bias) {
  const Case c{2, 10, 12, Activation::kNone, true, false};
  Inputs in(c, 15);
  for (int64_t i = 0; i < c.m * c.k; ++i) in.x[i] = 0.0f;
  Guarded y(c.m * c.n);
  run(table(), c, in, y.data(), c.m, 1);
  for (int64_t i = 0; i < c.m * c.n; ++i) EXPECT_EQ(y[i], in.bias[i % c.n]);
}

}  // namespace
}  // namespace headrace
