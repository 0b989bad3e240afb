// Every table this processor can run, against the reference's plain loops, at sizes around the vector width
// and with an unreadable page behind every buffer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/guarded.h"
#include "kernels/tables.h"

namespace headrace {
namespace {

const Kernels& reference() { return *runnable_kernels().back(); }

class EachTable : public testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& table() const { return *GetParam(); }
};

std::string table_name(const testing::TestParamInfo<const Kernels*>& info) { return info.param->name; }

INSTANTIATE_TEST_SUITE_P(Kernels, EachTable,
                         testing::ValuesIn(runnable_kernels().begin(), runnable_kernels().end()), table_name);

constexpr int64_t kSizes[] = {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 131, 383, 384};

struct GemmCase {
  int64_t m, n, k;
  Activation activation;
  bool bias, residual;
};

// y of `kernels`, cut into the given row and column blocks.
void run_gemm(const Kernels& kernels, const GemmCase& c, Guarded& x, Guarded& w, Guarded& bias,
              Guarded& residual, Guarded& y, int64_t row_block, int64_t column_blocks) {
  const int64_t panels = (c.n + kernels.panel_columns - 1) / kernels.panel_columns;
  Guarded packed(panels * kernels.panel_columns * c.k);
  kernels.pack_weights(w.data(), c.n, c.k, packed.data());
  const Gemm gemm{x.data(),
                  c.k,
                  packed.data(),
                  c.bias ? bias.data() : nullptr,
                  c.residual ? residual.data() : nullptr,
                  c.n,
                  y.data(),
                  c.n,
                  c.n,
                  c.k,
                  c.activation};
  for (int64_t row = 0; row < c.m; row += row_block)
    for (int64_t block = 0; block < column_blocks; ++block)
      kernels.gemm(gemm, row, std::min(c.m, row + row_block),
                   panels * block / column_blocks * kernels.panel_columns,
                   std::min(c.n, panels * (block + 1) / column_blocks * kernels.panel_columns));
}

TEST_P(EachTable, gemm_is_within_its_bound_of_the_reference) {
  std::vector<GemmCase> cases;
  for (const int64_t m : {1, 2, 5, 6, 7, 13, 14, 15, 29})
    for (const int64_t n : {1, 15, 16, 17, 32, 33, 95})
      cases.push_back({m, n, 37, m % 2 ? Activation::kGelu : Activation::kNone, n % 2 == 1, m % 3 == 0});
  for (const int64_t k : {0, 1, 384, 1536}) cases.push_back({9, 40, k, Activation::kNone, true, false});
  cases.push_back({43, 129, 1536, Activation::kGelu, true, true});
  for (const GemmCase& c : cases) {
    Guarded x(c.m * c.k), w(c.n * c.k), bias(c.n), residual(c.m * c.n), y(c.m * c.n), expected(c.m * c.n);
    x.randomize(1);
    w.randomize(2);
    bias.randomize(3);
    residual.randomize(4);
    run_gemm(table(), c, x, w, bias, residual, y, 17, 2);
    run_gemm(reference(), c, x, w, bias, residual, expected, c.m, 1);
    for (int64_t row = 0; row < c.m; ++row)
      for (int64_t col = 0; col < c.n; ++col) {
        double magnitude = c.bias ? std::abs(bias[col]) : 0.0;
        for (int64_t i = 0; i < c.k; ++i)
          magnitude += std::abs(static_cast<double>(x[row * c.k + i]) * w[col * c.k + i]);
        const double bound =
            2.0 * static_cast<double>(c.k + 4) * 0x1p-24 * magnitude + 4e-7 * (1.0 + magnitude);
        ASSERT_NEAR(y[row * c.n + col], expected[row * c.n + col], bound)
            << "m=" << c.m << " n=" << c.n << " k=" << c.k << " at " << row << "," << col;
      }
  }
}

TEST_P(EachTable, gemm_gives_the_same_bits_however_it_is_cut) {
  const GemmCase c{61, 200, 300, Activation::kGelu, true, true};
  Guarded x(c.m * c.k), w(c.n * c.k), bias(c.n), residual(c.m * c.n), whole(c.m * c.n), cut(c.m * c.n);
  x.randomize(5);
  w.randomize(6);
  bias.randomize(7);
  residual.randomize(8);
  run_gemm(table(), c, x, w, bias, residual, whole, c.m, 1);
  for (const int64_t row_block : {1, 2, 5, 14, 23}) {
    run_gemm(table(), c, x, w, bias, residual, cut, row_block, 3);
    ASSERT_EQ(std::memcmp(whole.data(), cut.data(), sizeof(float) * whole.size()), 0)
        << "row block " << row_block;
  }
}

TEST_P(EachTable, gemm_adds_the_residual_in_place) {
  const GemmCase c{20, 48, 64, Activation::kNone, true, true};
  Guarded x(c.m * c.k), w(c.n * c.k), bias(c.n), residual(c.m * c.n), y(c.m * c.n);
  x.randomize(9);
  w.randomize(10);
  bias.randomize(11);
  residual.randomize(12);
  run_gemm(table(), c, x, w, bias, residual, y, 7, 1);
  run_gemm(table(), c, x, w, bias, residual, residual, 7, 1);
  EXPECT_EQ(std::memcmp(y.data(), residual.data(), sizeof(float) * y.size()), 0);
}

TEST_P(EachTable, gemm_writes_only_its_own_columns) {
  const GemmCase c{3, 45, 8, Activation::kGelu, true, false};
  Guarded x(c.m * c.k), w(c.n * c.k), bias(c.n), residual(1), y(c.m * c.n, 64);
  x.randomize(13);
  w.randomize(14);
  bias.randomize(15);
  run_gemm(table(), c, x, w, bias, residual, y, c.m, 1);
  EXPECT_TRUE(y.gap_untouched());
}

TEST_P(EachTable, layer_norm_matches_the_reference) {
  for (const int64_t c : kSizes)
    for (const int64_t rows : {1, 3}) {
      Guarded x(rows * c), gain(c), bias(c), y(rows * c), expected(rows * c);
      x.randomize(20, -3.0f, 5.0f);
      gain.randomize(21, 0.5f, 1.5f);
      bias.randomize(22);
      table().layer_norm(x.data(), gain.data(), bias.data(), 1e-5f, rows, c, y.data());
      reference().layer_norm(x.data(), gain.data(), bias.data(), 1e-5f, rows, c, expected.data());
      for (int64_t i = 0; i < rows * c; ++i) ASSERT_NEAR(y[i], expected[i], 3e-5) << "c=" << c << " i=" << i;
    }
}

TEST_P(EachTable, layer_norm_of_a_constant_row_is_its_bias) {
  Guarded x(33), gain(33), bias(33);
  for (int64_t i = 0; i < 33; ++i) x[i] = 4.0f;
  gain.randomize(23);
  bias.randomize(24);
  table().layer_norm(x.data(), gain.data(), bias.data(), 1e-12f, 1, 33, x.data());
  for (int64_t i = 0; i < 33; ++i) EXPECT_NEAR(x[i], bias[i], 1e-5);
}

TEST_P(EachTable, softmax_matches_the_reference_and_sums_to_one) {
  for (const int64_t n : kSizes)
    for (const float spread : {1.0f, 30.0f, 1000.0f}) {
      Guarded x(n), expected(n);
      x.randomize(30, -spread, spread);
      std::copy(x.data(), x.data() + n, expected.data());
      table().softmax(x.data(), n);
      reference().softmax(expected.data(), n);
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) {
        sum += x[i];
        ASSERT_NEAR(x[i], expected[i], 1e-6 * std::max(1.0f, spread / 30.0f))
            << "n=" << n << " spread=" << spread;
      }
      ASSERT_NEAR(sum, 1.0, 1e-5);
    }
}

TEST_P(EachTable, softmax_of_huge_logits_is_finite) {
  Guarded x(20);
  for (int64_t i = 0; i < 20; ++i) x[i] = i == 3 ? 3e38f : -3e38f;
  table().softmax(x.data(), 20);
  EXPECT_FLOAT_EQ(x[3], 1.0f);
  for (int64_t i = 0; i < 20; ++i) EXPECT_TRUE(std::isfinite(x[i]));
}

TEST_P(EachTable, gelu_is_exact_to_two_in_ten_million) {
  constexpr int64_t kCount = 40'001;
  Guarded x(kCount), expected(kCount);
  for (int64_t i = 0; i < kCount; ++i)
    x[i] = expected[i] = -20.0f + 40.0f * static_cast<float>(i) / (kCount - 1);
  table().gelu(x.data(), kCount);
  reference().gelu(expected.data(), kCount);
  for (int64_t i = 0; i < kCount; ++i)
    ASSERT_NEAR(x[i], expected[i], 2e-7 * std::max(1.0f, std::abs(expected[i]))) << "i=" << i;
}

TEST_P(EachTable, gelu_keeps_special_values) {
  Guarded x(5);
  x[0] = 0.0f;
  x[1] = -0.0f;
  x[2] = INFINITY;
  x[3] = NAN;
  x[4] = 1e-40f;
  table().gelu(x.data(), 5);
  EXPECT_EQ(x[0], 0.0f);
  EXPECT_EQ(x[1], 0.0f);
  EXPECT_EQ(x[2], INFINITY);
  EXPECT_TRUE(std::isnan(x[3]));
  EXPECT_NEAR(x[4], 5e-41f, 1e-41f);
}

// One head of one sequence, whose keys and values stand behind its queries.
Attention attention_of(Guarded& qkv, int64_t length, int64_t head_dim, int64_t ld, Guarded& out,
                       Guarded& scratch) {
  return {.q = qkv.data(),
          .k = qkv.data() + head_dim,
          .v = qkv.data() + 2 * head_dim,
          .ld = ld,
          .out = out.data(),
          .ldo = head_dim,
          .length = length,
          .head_dim = head_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
          .scratch = scratch.data(),
          .queries = length};
}

// Both of a table's, beside the reference's. Narrow: of inputs that bf16 holds, so that what is left is the
// error of its weights.
class EachAttention : public testing::TestWithParam<std::tuple<const Kernels*, bool>> {
 protected:
  const Kernels& table() const { return *std::get<0>(GetParam()); }
  bool is_narrow() const { return std::get<1>(GetParam()); }
  double bound() const { return is_narrow() ? 2.0 / 256 : 4e-6; }  // |v| <= 2

  void call(const Kernels& kernels, const Attention& attention) const {
    (is_narrow() ? kernels.narrow_attention : kernels.attention)(attention);
  }
  void run(const Kernels& kernels, Guarded& qkv, int64_t length, int64_t head_dim, Guarded& out) const {
    Guarded scratch(kernels.attention_scratch(length, head_dim));
    call(kernels, attention_of(qkv, length, head_dim, 3 * head_dim, out, scratch));
  }
  void fill(Guarded& qkv, uint32_t seed, float limit) const {
    qkv.randomize(seed, -limit, limit);
    if (!is_narrow()) return;
    for (int64_t i = 0; i < qkv.size(); ++i) {
      uint32_t bits;
      std::memcpy(&bits, &qkv[i], sizeof bits);
      bits &= 0xFFFF0000u;
      std::memcpy(&qkv[i], &bits, sizeof bits);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Kernels, EachAttention,
                         testing::Combine(testing::ValuesIn(tables_under_test()), testing::Bool()),
                         [](const auto& each) {
                           return std::string(std::get<0>(each.param)->name) +
                                  (std::get<1>(each.param) ? "_narrow" : "_f32");
                         });

TEST_P(EachAttention, matches_the_reference_at_all_lengths) {
  for (const int64_t head_dim : {8, 20, 32, 48, 64, 72, 80, 128})
    for (const int64_t length : {1, 2, 13, 14, 15, 16, 17, 31, 33, 100, 511, 512, 513, 1100}) {
      if (length > 100 && head_dim != 32) continue;
      Guarded qkv(length * 3 * head_dim), out(length * head_dim), expected(length * head_dim);
      fill(qkv, static_cast<uint32_t>(40 + length), 2.0f);
      run(table(), qkv, length, head_dim, out);
      run(reference(), qkv, length, head_dim, expected);
      for (int64_t i = 0; i < out.size(); ++i)
        ASSERT_NEAR(out[i], expected[i], bound())
            << "length=" << length << " head_dim=" << head_dim << " i=" << i;
    }
}

// Windows and biases, with the queries cut in parts: the parts must give what the whole gives, bit for bit.
TEST_P(EachAttention, looks_through_windows_and_adds_biases) {
  const int64_t d = 32, ld = 3 * d;
  for (const int64_t length : {1, 7, 33, 100, 600, 1100})
    for (const int64_t window : {0, 1, 5, 64, 511, 700})
      for (const bool is_biased : {false, true}) {
        Guarded qkv(length * ld), out(length * d), parts(length * d), expected(length * d);
        Guarded distances(2 * length - 1);
        fill(qkv, static_cast<uint32_t>(70 + length), 2.0f);
        distances.randomize(71, -3.0f, 3.0f);
        const auto run_in_parts = [&](const Kernels& kernels, Guarded& to, int64_t step) {
          Guarded scratch(kernels.attention_scratch(length, d));
          Attention attention = attention_of(qkv, length, d, ld, to, scratch);
          attention.window = window;
          for (int64_t begin = 0; begin < length; begin += step) {
            Attention part = attention;
            part.q += begin * ld;
            part.out += begin * d;
            part.first_query = begin;
            part.queries = std::min(step, length - begin);
            if (is_biased) part.bias = distances.data() + length - 1 - begin, part.bias_stride = -1;
            call(kernels, part);
          }
        };
        run_in_parts(table(), out, length);
        run_in_parts(table(), parts, 13);
        run_in_parts(reference(), expected, length);
        for (int64_t i = 0; i < out.size(); ++i) {
          ASSERT_NEAR(out[i], expected[i], bound())
              << "length=" << length << " window=" << window << " i=" << i;
          ASSERT_EQ(out[i], parts[i]) << "length=" << length << " window=" << window << " i=" << i;
        }
      }
}

TEST_P(EachAttention, adds_a_matrix_of_biases) {
  const int64_t d = is_narrow() ? 48 : 20, ld = 3 * d, length = 77, rows = 9, first = 31;
  Guarded qkv(length * ld), bias(rows * length), out(rows * d), expected(rows * d);
  fill(qkv, 80, 2.0f);
  bias.randomize(81, -3.0f, 3.0f);
  for (const auto& [kernels, to] : {std::pair{&table(), &out}, std::pair{&reference(), &expected}}) {
    Guarded scratch(kernels->attention_scratch(length, d));
    Attention attention = attention_of(qkv, length, d, ld, *to, scratch);
    attention.q += first * ld;
    attention.first_query = first;
    attention.queries = rows;
    attention.bias = bias.data();
    attention.bias_stride = length;
    call(*kernels, attention);
  }
  for (int64_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], bound()) << i;
}

TEST_P(EachAttention, survives_huge_scores) {
  Guarded qkv(40 * 96), out(40 * 32);
  fill(qkv, 50, 1e4f);
  run(table(), qkv, 40, 32, out);
  for (int64_t i = 0; i < out.size(); ++i) ASSERT_TRUE(std::isfinite(out[i]));
}

TEST_P(EachTable, pooling_and_norms_match_the_reference) {
  for (const int64_t c : kSizes) {
    Guarded x(5 * c), y(c), expected(c);
    x.randomize(60);
    table().mean_pool(x.data(), 5, c, y.data());
    reference().mean_pool(x.data(), 5, c, expected.data());
    for (int64_t i = 0; i < c; ++i) ASSERT_NEAR(y[i], expected[i], 1e-6);
    table().l2_normalize(x.data(), c, y.data());
    reference().l2_normalize(x.data(), c, expected.data());
    for (int64_t i = 0; i < c; ++i) ASSERT_NEAR(y[i], expected[i], 1e-6);
    table().add3(x.data(), x.data() + c, x.data() + 2 * c, c, y.data());
    for (int64_t i = 0; i < c; ++i) ASSERT_EQ(y[i], x[i] + x[c + i] + x[2 * c + i]);
  }
}

TEST_P(EachTable, normalising_zeros_gives_zeros) {
  Guarded x(17);
  table().l2_normalize(x.data(), 17, x.data());
  for (int64_t i = 0; i < 17; ++i) EXPECT_EQ(x[i], 0.0f);
}

TEST_P(EachTable, peak_counts_its_operations) { EXPECT_GT(table().peak_flops(10), 0); }

}  // namespace
}  // namespace headrace
