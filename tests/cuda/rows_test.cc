// Kernels on rows, against the reference table.
#include "kernels/cuda/rows.h"

#include "device_test.h"

namespace headrace::cuda {
namespace {

class Rows : public OnEveryMachine {};
HEADRACE_ON_EVERY_MACHINE(Rows);

constexpr unsigned kThreads = 64;

TEST_P(Rows, LayerNormAndRmsNorm) {
  for (const int64_t c : {1, 31, 32, 33, 63, 64, 65, 384, 1001}) {
    constexpr int64_t kRows = 3;
    const auto x = normal_numbers(static_cast<size_t>(kRows * c), 1),
               gain = normal_numbers(static_cast<size_t>(c), 2);
    const auto bias = normal_numbers(static_cast<size_t>(c), 3);
    std::vector<float> found(x.size()), expected(x.size());
    machine().run({kRows}, kThreads,
                  [&] { layer_norm(x.data(), gain.data(), bias.data(), 1e-5f, c, found.data()); });
    headrace::cuda::reference().layer_norm(x.data(), gain.data(), bias.data(), 1e-5f, kRows, c,
                                           expected.data());
    expect_near(found, expected, 4e-6f * std::sqrt(static_cast<float>(c)) * largest(gain));
    machine().run({kRows}, kThreads, [&] { rms_norm(x.data(), gain.data(), 1e-6f, c, found.data()); });
    headrace::cuda::reference().decoder.rms_norm(x.data(), gain.data(), 1e-6f, kRows, c, expected.data());
    expect_near(found, expected, 4e-6f * largest(expected));
  }
}

TEST_P(Rows, SoftmaxAndNormalise) {
  for (const int64_t c : {1, 2, 31, 64, 65, 500}) {
    constexpr int64_t kRows = 2;
    auto found = normal_numbers(static_cast<size_t>(kRows * c), 4, 5), expected = found;
    machine().run({kRows}, kThreads, [&] { softmax(found.data(), c); });
    for (int64_t row = 0; row < kRows; ++row)
      headrace::cuda::reference().softmax(expected.data() + row * c, c);
    expect_near(found, expected, 1e-6f);
    const auto x = normal_numbers(static_cast<size_t>(kRows * c), 5);
    machine().run({kRows}, kThreads, [&] { l2_normalize(x.data(), c, found.data()); });
    for (int64_t row = 0; row < kRows; ++row)
      headrace::cuda::reference().l2_normalize(x.data() + row * c, c, expected.data() + row * c);
    expect_near(found, expected, 1e-6f);
  }
  std::vector<float> zeros(64, 0.0f), out(64, 1.0f);
  machine().run({1}, kThreads, [&] { l2_normalize(zeros.data(), 64, out.data()); });
  EXPECT_EQ(out, zeros);
}

TEST_P(Rows, MeanPool) {
  const std::vector<int32_t> cu_lengths = {0, 1, 6, 6 + 33};
  for (const int64_t c : {1, 63, 64, 130}) {
    const auto x = normal_numbers(static_cast<size_t>(39 * c), 6);
    std::vector<float> found(static_cast<size_t>(3 * c)), expected(found.size());
    machine().run({3, blocks_of(c, kThreads)}, kThreads,
                  [&] { mean_pool(x.data(), cu_lengths.data(), c, found.data()); });
    for (int64_t b = 0; b < 3; ++b) {
      const int64_t begin = cu_lengths[static_cast<size_t>(b)], end = cu_lengths[static_cast<size_t>(b + 1)];
      headrace::cuda::reference().mean_pool(x.data() + begin * c, end - begin, c, expected.data() + b * c);
    }
    expect_near(found, expected, 2e-6f);
  }
}

TEST_P(Rows, Embed) {
  constexpr int64_t kC = 70;
  const auto words = normal_numbers(10 * kC, 7), positions = normal_numbers(5 * kC, 8),
             types = normal_numbers(2 * kC, 9);
  const std::vector<int32_t> ids = {3, 9, 0}, places = {0, 1, 4}, kinds = {0, 1, 1};
  std::vector<float> found(3 * kC);
  machine().run({3}, kThreads, [&] {
    embed(words.data(), positions.data(), types.data(), ids.data(), places.data(), kinds.data(), kC,
          found.data());
  });
  for (size_t t = 0; t < 3; ++t)
    for (size_t i = 0; i < kC; ++i)
      EXPECT_EQ(found[t * kC + i], words[static_cast<size_t>(ids[t]) * kC + i] +
                                       positions[static_cast<size_t>(places[t]) * kC + i] +
                                       types[static_cast<size_t>(kinds[t]) * kC + i]);
  machine().run({3}, kThreads, [&] {
    embed(words.data(), nullptr, nullptr, ids.data(), places.data(), nullptr, kC, found.data());
  });
  EXPECT_EQ(found[kC], words[9 * kC]);
}

TEST_P(Rows, ActivationsAndGate) {
  const int64_t count = 301;
  const auto x = normal_numbers(static_cast<size_t>(2 * count), 10, 3);
  auto found = std::vector<float>(x.begin(), x.begin() + count), expected = found;
  machine().run({blocks_of(count, kThreads)}, kThreads,
                [&] { activation(Activation::kGelu, count, found.data()); });
  headrace::cuda::reference().gelu(expected.data(), count);
  expect_near(found, expected, 2e-6f);
  for (const Activation kind : {Activation::kSilu, Activation::kGeluTanh, Activation::kQuickGelu}) {
    std::vector<float> gated(static_cast<size_t>(count)), wanted(gated.size());
    const int64_t n = 43;  // seven rows of it
    machine().run({blocks_of(count, kThreads)}, kThreads, [&] { gate(x.data(), 7, n, kind, gated.data()); });
    headrace::cuda::reference().decoder.gate(x.data(), 7, n, kind, wanted.data());
    expect_near(gated, wanted, 4e-6f * largest(x));
  }
}

TEST_P(Rows, Rotate) {
  constexpr int64_t kTokens = 3, kHeads = 2, kHeadDim = 10, kHalf = 4, kLd = 25;
  const auto x = normal_numbers(kTokens * kLd, 11), cosine = normal_numbers(6 * kHalf, 12);
  const auto sine = normal_numbers(6 * kHalf, 13);
  const std::vector<int32_t> places = {5, 0, 2};
  auto found = x, expected = x;
  machine().run({kTokens}, 32, [&] {
    rotate(found.data(), kLd, kHeads, kHeadDim, kHalf, places.data(), cosine.data(), sine.data());
  });
  for (size_t t = 0; t < kTokens; ++t)
    headrace::cuda::reference().decoder.rotate(expected.data() + t * kLd, kHeads, kHeadDim, kHalf,
                                               cosine.data() + places[t] * kHalf,
                                               sine.data() + places[t] * kHalf);
  expect_near(found, expected, 1e-6f);
}

TEST_P(Rows, Encode) {
  constexpr int64_t kK = 77;
  auto x = normal_numbers(3 * kK, 14);
  std::fill(x.begin() + kK, x.begin() + 2 * kK, 0.0f);
  x[2 * kK + 5] = INFINITY;
  std::vector<int8_t> q(3 * kK);
  std::vector<float> scale(3);
  machine().run({3}, kThreads, [&] { encode_int8(x.data(), nullptr, kK, q.data(), scale.data()); });
  for (size_t i = 0; i < kK; ++i) EXPECT_NEAR(static_cast<float>(q[i]) * scale[0], x[i], scale[0] * 0.5001f);
  EXPECT_EQ(scale[1], 0.0f);
  EXPECT_FALSE(std::isfinite(scale[2]));
  std::vector<Bf16> rounded(kK);
  machine().run({blocks_of(kK, kThreads)}, kThreads, [&] { encode_bf16(x.data(), kK, rounded.data()); });
  for (size_t i = 0; i < kK; ++i) EXPECT_NEAR(to_float(rounded[i]), x[i], std::fabs(x[i]) / 256);
  EXPECT_TRUE(std::isnan(to_float(to_bf16(NAN))));
  EXPECT_EQ(to_bf16(1.00390625f).bits, 0x3f80);  // ties go to even
  EXPECT_EQ(to_bf16(1.01171875f).bits, 0x3f82);
}

}  // namespace
}  // namespace headrace::cuda
