// Sampling on the device gives the tokens of models/sampler.h, with the same draw.
#include "kernels/cuda/sampling.h"

#include "device_test.h"
#include "models/sampler.h"

namespace headrace::cuda {
namespace {

class Sampling : public OnEveryMachine {};
HEADRACE_ON_EVERY_MACHINE(Sampling);

// As models/sampler.cc has it.
double uniform(uint64_t seed, int64_t counter) {
  const auto mix = [](uint64_t x) {
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ x >> 27) * 0x94D049BB133111EBull;
    return x ^ x >> 31;
  };
  return static_cast<double>(mix(mix(seed) ^ static_cast<uint64_t>(counter)) >> 11) * 0x1p-53;
}

TEST_P(Sampling, IsThatOfTheProcessor) {
  constexpr int64_t kVocabulary = 203;
  const std::vector<SamplingOptions> all = {
      {.temperature = 0},
      {.temperature = 1},
      {.temperature = 0.7f, .top_k = 5},
      {.temperature = 1.5f, .top_p = 0.8f},
      {.temperature = 1, .min_p = 0.2f},
      {.temperature = 0.9f,
       .top_k = 40,
       .top_p = 0.9f,
       .min_p = 0.01f,
       .repetition_penalty = 1.3f,
       .presence_penalty = 0.5f,
       .frequency_penalty = 0.25f},
      {.temperature = 1, .top_k = 1},
      {.temperature = 2, .top_p = 1e-6f},
  };
  for (size_t i = 0; i < all.size(); ++i)
    for (uint64_t seed = 0; seed < 6; ++seed) {
      SamplingOptions options = all[i];
      options.seed = seed;
      auto logits = normal_numbers(kVocabulary, 100 * i + seed, 3);
      logits[7] = logits[11] = 4.0f;  // equals
      logits[13] = -INFINITY;
      TokenCounts counts;
      std::vector<int32_t> generated(kVocabulary, 0);
      std::vector<uint8_t> prompted(kVocabulary, 0);
      for (const int32_t token : {3, 7, 7, 50}) {
        counts.add(token);
        ++generated[static_cast<size_t>(token)];
      }
      const std::vector<int32_t> prompt = {9, 11};
      counts.add_prompt(prompt);
      for (const int32_t token : prompt) prompted[static_cast<size_t>(token)] = 1;
      std::vector<uint32_t> allowed((kVocabulary + 31) / 32, 0xffffffffu);
      if (seed % 2 == 1) allowed[2] = 0x0000ffffu;

      const SamplingRow row{options.temperature,
                            static_cast<int32_t>(options.top_k),
                            options.top_p,
                            options.min_p,
                            options.repetition_penalty,
                            options.presence_penalty,
                            options.frequency_penalty,
                            uniform(seed, 4)};
      auto on_device = logits;
      int32_t token = -2;
      machine().run({1}, 64, [&] {
        sample(on_device.data(), kVocabulary, &row, generated.data(), prompted.data(), allowed.data(),
               &token);
      });
      Sampler sampler;
      const Sampled expected = sampler.sample(logits, options, &counts, 4, {}, allowed);
      EXPECT_EQ(token, expected.token) << "options " << i << ", seed " << seed;
    }
}

TEST_P(Sampling, NoNumbersGiveNoToken) {
  const SamplingRow row{1, 0, 1, 0, 1, 0, 0, 0.5};
  for (const float odd : {static_cast<float>(NAN), static_cast<float>(INFINITY)}) {
    std::vector<float> logits(64, 1.0f);
    logits[40] = odd;
    int32_t token = -2;
    machine().run({1}, 32, [&] { sample(logits.data(), 64, &row, nullptr, nullptr, nullptr, &token); });
    EXPECT_EQ(token, -1);
  }
  std::vector<float> none(64, -INFINITY);
  int32_t token = -2;
  machine().run({1}, 32, [&] { sample(none.data(), 64, &row, nullptr, nullptr, nullptr, &token); });
  EXPECT_EQ(token, -1);
}

}  // namespace
}  // namespace headrace::cuda
