// Matrix products, f32, bf16 and int8 on emulated tensor cores, and weights in groups.
#include "kernels/cuda/gemm.h"

#include "device_test.h"

namespace headrace::cuda {
namespace {

class Products : public OnEveryMachine {};
HEADRACE_ON_EVERY_MACHINE(Products);

struct Problem {
  int64_t m, n, k;
  std::vector<float> x, w, bias, residual, y;
  explicit Problem(int64_t rows, int64_t columns, int64_t depth)
      : m(rows),
        n(columns),
        k(depth),
        x(normal_numbers(static_cast<size_t>(m * k), 1)),
        w(normal_numbers(static_cast<size_t>(n * k), 2)),
        bias(normal_numbers(static_cast<size_t>(n), 3)),
        residual(normal_numbers(static_cast<size_t>(m * n), 4)),
        y(static_cast<size_t>(m * n)) {}
  GemmEpilogue epilogue(Activation activation = Activation::kGelu) {
    return {bias.data(), residual.data(), n, y.data(), n, nullptr, activation};
  }
  // Of given numbers, in f64.
  std::vector<float> expected(const std::vector<float>& xs, const std::vector<float>& ws,
                              Activation activation) const {
    std::vector<float> found;
    for (int64_t row = 0; row < m; ++row)
      for (int64_t column = 0; column < n; ++column) {
        double sum = bias[static_cast<size_t>(column)];
        for (int64_t i = 0; i < k; ++i)
          sum += static_cast<double>(xs[static_cast<size_t>(row * k + i)]) *
                 ws[static_cast<size_t>(column * k + i)];
        found.push_back(activate(activation, static_cast<float>(sum)) +
                        residual[static_cast<size_t>(row * n + column)]);
      }
    return found;
  }
  float bound() const {
    return 2.0f * static_cast<float>(k + 4) * 0x1p-24f * (static_cast<float>(k) * 4 + 4) + 4e-6f;
  }
};

TEST_P(Products, F32) {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {3, 65, 17}, {65, 63, 33}, {64, 64, 16}}) {
    Problem p(m, n, k);
    machine().run({blocks_of(n, GemmF32::kTile), blocks_of(m, GemmF32::kTile)}, GemmF32::kThreads,
                  [&] { gemm_f32(p.x.data(), p.w.data(), m, n, k, p.epilogue()); });
    expect_near(p.y, p.expected(p.x, p.w, Activation::kGelu), p.bound());
  }
}

TEST_P(Products, Bf16) {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 8}, {17, 70, 40}, {65, 64, 96}, {64, 65, 136}}) {
    Problem p(m, n, k);
    const auto x = as_bf16(p.x), w = as_bf16(p.w);
    std::vector<Bf16> rounded(p.y.size());
    auto epilogue = p.epilogue(Activation::kSilu);
    epilogue.bf16_y = rounded.data();
    machine().run({blocks_of(n, GemmTensor::kTile), blocks_of(m, GemmTensor::kTile)}, GemmTensor::kThreads,
                  [&] { gemm_bf16(x.data(), w.data(), m, n, k, epilogue); });
    expect_near(p.y, p.expected(as_floats(x), as_floats(w), Activation::kSilu), p.bound());
    expect_near(as_floats(rounded), p.y, largest(p.y) / 256);
  }
}

TEST_P(Products, Int8) {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 16}, {17, 70, 80}, {65, 64, 192}}) {
    Problem p(m, n, k);
    std::mt19937 random(5);
    std::vector<int8_t> x(p.x.size()), w(p.w.size());
    for (int8_t& q : x) q = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    for (int8_t& q : w) q = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    const auto x_scale = normal_numbers(static_cast<size_t>(m), 6, 0.01f),
               w_scale = normal_numbers(static_cast<size_t>(n), 7, 0.01f);
    machine().run({blocks_of(n, GemmTensor::kTile), blocks_of(m, GemmTensor::kTile)}, GemmTensor::kThreads,
                  [&] {
                    gemm_int8(x.data(), w.data(), x_scale.data(), w_scale.data(), m, n, k,
                              p.epilogue(Activation::kNone));
                  });
    for (int64_t row = 0; row < m; ++row)
      for (int64_t column = 0; column < n; ++column) {
        int32_t sum = 0;
        for (int64_t i = 0; i < k; ++i)
          sum += static_cast<int32_t>(x[static_cast<size_t>(row * k + i)]) *
                 w[static_cast<size_t>(column * k + i)];
        const float expected = static_cast<float>(sum) * x_scale[static_cast<size_t>(row)] *
                                   w_scale[static_cast<size_t>(column)] +
                               p.bias[static_cast<size_t>(column)] +
                               p.residual[static_cast<size_t>(row * n + column)];
        ASSERT_NEAR(p.y[static_cast<size_t>(row * n + column)], expected, 2e-6f * (1 + std::fabs(expected)));
      }
  }
}

template <int kBits>
void grouped(const Machine& machine, bool has_offset) {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 5, 32}, {3, 9, 64 * 32}, {8, 4, 33 * 32}}) {
    Problem p(m, n, k);
    std::mt19937 random(8);
    std::vector<uint8_t> numbers(p.w.size()), packed(p.w.size() * kBits / 8);
    for (uint8_t& q : numbers) q = static_cast<uint8_t>(random() % (1u << kBits));
    for (size_t i = 0; i < numbers.size(); ++i) {
      if (kBits == 8) packed[i] = numbers[i];
      if (kBits == 4) packed[i / 2] = static_cast<uint8_t>(packed[i / 2] | numbers[i] << i % 2 * 4);
    }
    const auto groups = static_cast<size_t>(n * k / kWeightGroup);
    const auto scale = normal_numbers(groups, 9, 0.05f), offset = normal_numbers(groups, 10, 0.1f);
    std::vector<float> w(p.w.size());
    for (size_t i = 0; i < w.size(); ++i) {
      const auto group = i / kWeightGroup;
      w[i] = has_offset ? scale[group] * static_cast<float>(numbers[i]) + offset[group]
                        : scale[group] * (static_cast<float>(numbers[i]) - 128.0f);
    }
    machine.run({blocks_of(n, 2)}, 64, [&] {
      gemm_grouped<kBits>(p.x.data(), packed.data(), scale.data(), has_offset ? offset.data() : nullptr, m, n,
                          k, p.epilogue(Activation::kNone));
    });
    expect_near(p.y, p.expected(p.x, w, Activation::kNone), 4 * p.bound());
  }
}

TEST_P(Products, WeightsOfFourBits) { grouped<4>(machine(), true); }
TEST_P(Products, WeightsOfEightBits) { grouped<8>(machine(), false); }

// The residual may be where the sums go.
TEST_P(Products, InPlace) {
  Problem p(20, 30, 48);
  const auto expected = p.expected(p.x, p.w, Activation::kNone);
  GemmEpilogue epilogue{p.bias.data(), p.residual.data(), 30, p.residual.data(), 30,
                        nullptr,       Activation::kNone};
  machine().run({1, 1}, GemmF32::kThreads, [&] { gemm_f32(p.x.data(), p.w.data(), 20, 30, 48, epilogue); });
  expect_near(p.residual, expected, p.bound());
}

}  // namespace
}  // namespace headrace::cuda
