// One run of the kernels whose faults tests/python/test_cuda_mutants.py plants: says on its first line "ok",
// or what was found and under which schedule. Compiled anew for each mutant, so it includes little.
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/rows.h"

namespace headrace::cuda {
namespace {

struct Numbers {
  uint64_t state = 1;
  float next() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1p-31f;
  }
  std::vector<float> take(size_t count) {
    std::vector<float> found(count);
    for (float& number : found) number = next();
    return found;
  }
};

void near(float found, double expected, double bound, const char* what, size_t at) {
  if (!(std::fabs(found - expected) <= bound))
    throw std::runtime_error("values: " + std::string(what) + "[" + std::to_string(at) + "] is " +
                             std::to_string(found) + ", expected " + std::to_string(expected));
}

void check_norm(simt::Launch launch) {
  constexpr int64_t kC = 101;
  Numbers numbers;
  const auto x = numbers.take(2 * kC), gain = numbers.take(kC), bias = numbers.take(kC);
  std::vector<float> y(2 * kC);
  launch.grid = {2};
  launch.block = {96};
  simt::launch(launch, [&] { layer_norm(x.data(), gain.data(), bias.data(), 1e-5f, kC, y.data()); });
  for (size_t row = 0; row < 2; ++row) {
    double mean = 0, var = 0;
    for (size_t i = 0; i < kC; ++i) mean += x[row * kC + i] / double{kC};
    for (size_t i = 0; i < kC; ++i) var += (x[row * kC + i] - mean) * (x[row * kC + i] - mean) / double{kC};
    for (size_t i = 0; i < kC; ++i)
      near(y[row * kC + i], (x[row * kC + i] - mean) / std::sqrt(var + 1e-5) * gain[i] + bias[i], 1e-5,
           "layer_norm", i);
  }
}

void check_gemm(simt::Launch launch) {
  constexpr int64_t kM = 70, kN = 66, kK = 104;
  Numbers numbers;
  std::vector<Bf16> x, w;
  for (const float number : numbers.take(kM * kK)) x.push_back(to_bf16(number));
  for (const float number : numbers.take(kN * kK)) w.push_back(to_bf16(number));
  std::vector<float> y(kM * kN);
  const GemmEpilogue out{nullptr, nullptr, 0, y.data(), kN, nullptr, Activation::kNone};
  launch.grid = {2, 2};
  launch.block = {GemmTensor::kThreads};
  simt::launch(launch, [&] { gemm_bf16(x.data(), w.data(), kM, kN, kK, out); });
  for (size_t row = 0; row < kM; ++row)
    for (size_t column = 0; column < kN; ++column) {
      double sum = 0;
      for (size_t i = 0; i < kK; ++i) sum += double{to_float(x[row * kK + i])} * to_float(w[column * kK + i]);
      near(y[row * kN + column], sum, 1e-4, "gemm", row * kN + column);
    }
}

void check_attention(simt::Launch launch) {
  constexpr int64_t kHeadDim = 32, kLength = 67;
  Numbers numbers;
  std::vector<Bf16> qkv;
  for (const float number : numbers.take(kLength * 3 * kHeadDim)) qkv.push_back(to_bf16(2 * number));
  std::vector<Bf16> y(kLength * kHeadDim);
  const std::vector<int32_t> lengths = {0, kLength};
  launch.grid = {2, 1, 1};
  launch.block = {AttentionTensor<kHeadDim>::kThreads};
  simt::launch(launch, [&] {
    attention_bf16<kHeadDim>({qkv.data(), qkv.data() + kHeadDim, qkv.data() + 2 * kHeadDim, 3 * kHeadDim,
                              y.data(), kHeadDim, lengths.data(), 0.2f, 0});
  });
  for (size_t i = 0; i < kLength; ++i) {
    std::vector<double> weights;
    double total = 0;
    for (size_t j = 0; j < kLength; ++j) {
      double score = 0;
      for (size_t d = 0; d < kHeadDim; ++d)
        score += double{to_float(qkv[i * 96 + d])} * to_float(qkv[j * 96 + kHeadDim + d]);
      weights.push_back(std::exp(0.2 * score));
      total += weights.back();
    }
    for (size_t d = 0; d < kHeadDim; ++d) {
      double sum = 0;
      for (size_t j = 0; j < kLength; ++j)
        sum += weights[j] / total * to_float(qkv[j * 96 + 2 * kHeadDim + d]);
      near(to_float(y[i * kHeadDim + d]), sum, 0.02, "attention", i * kHeadDim + d);
    }
  }
}

}  // namespace
}  // namespace headrace::cuda

// With an argument: under the first schedule alone.
int main(int argc, char**) {
  std::vector<std::pair<simt::Schedule, const char*>> schedules = {
      {simt::Schedule::kForward, "forward"},
      {simt::Schedule::kReverse, "reverse"},
      {simt::Schedule::kRandom, "random"},
      {simt::Schedule::kWarpGreedy, "warp greedy"},
      {simt::Schedule::kWarpGreedyReverse, "warp greedy, reverse"}};
  if (argc > 1) schedules.resize(1);
  bool is_ok = true;
  for (const auto& [schedule, name] : schedules)
    for (const auto& check :
         {headrace::cuda::check_norm, headrace::cuda::check_gemm, headrace::cuda::check_attention})
      try {
        check({.grid = {}, .block = {}, .schedule = schedule, .seed = 7});
      } catch (const std::exception& error) {
        std::printf("%s: %s\n", name, error.what());
        is_ok = false;
      }
  if (is_ok) std::puts("ok");
  return is_ok ? 0 : 1;
}
