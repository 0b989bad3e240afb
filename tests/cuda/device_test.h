// What the tests of the kernels share: numbers to compute on, and every schedule.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/dispatch.h"
#include "simt.h"

namespace headrace::cuda {

inline std::vector<float> normal_numbers(size_t count, uint64_t seed, float scale = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> found(count);
  for (float& number : found) number = scale * normal(random);
  return found;
}

inline std::vector<Bf16> as_bf16(const std::vector<float>& numbers) {
  std::vector<Bf16> found;
  for (const float number : numbers) found.push_back(to_bf16(number));
  return found;
}

inline std::vector<float> as_floats(const std::vector<Bf16>& numbers) {
  std::vector<float> found;
  for (const Bf16 number : numbers) found.push_back(to_float(number));
  return found;
}

inline float largest(const std::vector<float>& numbers) {
  float most = 0;
  for (const float number : numbers) most = std::max(most, std::fabs(number));
  return most;
}

inline void expect_near(const std::vector<float>& found, const std::vector<float>& expected, float bound) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    ASSERT_LE(std::fabs(found[i] - expected[i]), bound)
        << "at " << i << ": " << found[i] << ", expected " << expected[i];
}

inline unsigned blocks_of(int64_t count, int64_t each) {
  return static_cast<unsigned>((count + each - 1) / each);
}

// Runs a kernel under one schedule. The same numbers must come of every one of them.
struct Machine {
  simt::Schedule schedule = simt::Schedule::kForward;
  uint64_t seed = 0;

  template <typename Kernel>
  void run(simt::Dim3 grid, unsigned threads, const Kernel& kernel) const {
    simt::launch({.grid = grid, .block = {threads}, .schedule = schedule, .seed = seed}, kernel);
  }
};

inline const std::vector<Machine>& machines() {
  static const std::vector<Machine> all = {
      {simt::Schedule::kForward},   {simt::Schedule::kReverse},    {simt::Schedule::kRandom, 1},
      {simt::Schedule::kRandom, 2}, {simt::Schedule::kWarpGreedy}, {simt::Schedule::kWarpGreedyReverse}};
  return all;
}

class OnEveryMachine : public testing::TestWithParam<size_t> {
 protected:
  const Machine& machine() const { return machines()[GetParam()]; }
};

inline std::string machine_name(const testing::TestParamInfo<size_t>& info) {
  constexpr const char* kNames[] = {"forward", "reverse", "random1", "random2", "greedy", "greedy_reverse"};
  return kNames[info.param];
}

#define HEADRACE_ON_EVERY_MACHINE(Suite) \
  INSTANTIATE_TEST_SUITE_P(Schedules, Suite, testing::Range(size_t{0}, machines().size()), machine_name)

inline const Kernels& reference() { return kernels_by_name("reference"); }

}  // namespace headrace::cuda
