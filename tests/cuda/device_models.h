// Tiny models of random weights, and what they say on a device and on the processor.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "device_test.h"
#include "emulated_device.h"
#include "kernels/devices.h"
#include "kernels/dispatch.h"
#include "models/encoder.h"
#include "models/language_model.h"
#include "models/tensor_files.h"

namespace headrace {

using cuda::EmulatedMachine;

constexpr int64_t kHidden = 64, kForward = 80, kVocabulary = 50;

// A folder with a model of random weights.
class Saved {
 public:
  Saved(const std::string& config, const Tensors& tensors) {
    static int number = 0;
    directory_ = std::filesystem::temp_directory_path() / concat("headrace-device-", getpid(), "-", number++);
    std::filesystem::create_directories(directory_);
    std::ofstream(directory_ / "config.json") << config;
    write_tensors(tensors, (directory_ / "model.safetensors").string());
  }
  ~Saved() { std::filesystem::remove_all(directory_); }
  Saved(const Saved&) = delete;
  Saved& operator=(const Saved&) = delete;
  std::string directory() const { return directory_.string(); }

 private:
  std::filesystem::path directory_;
};

inline void add_norm(Tensors& tensors, const std::string& name, bool has_bias) {
  tensors[name + ".weight"] = random_tensor({kHidden});
  if (has_bias) tensors[name + ".bias"] = random_tensor({kHidden});
}

inline void add_matrix(Tensors& tensors, const std::string& name, int64_t n, int64_t k) {
  tensors[name + ".weight"] = random_tensor({n, k});
}

class DeviceModels : public testing::Test {
 protected:
  DeviceModels() {
    register_devices(&cuda::emulated_devices());
    EmulatedMachine::schedule = simt::Schedule::kForward;
  }
  ~DeviceModels() override { EXPECT_EQ(EmulatedMachine::allocations, 0) << "memory that nobody gave back"; }
};

inline std::vector<float> answers(const std::string& directory, const LoadOptions& options) {
  const auto model = Encoder::load(directory, kernels(), options);
  ThreadPool pool(1);
  const std::vector<int32_t> cu_lengths = {0, 1, 6, 6 + 70};
  std::vector<int32_t> ids, types;
  for (int32_t i = 0; i < cu_lengths.back(); ++i) ids.push_back((i * 37 + 11) % 50), types.push_back(i % 2);
  model->reserve(100, pool.threads());
  const bool is_token = model->info().rows == AnswerRows::kToken;
  const int64_t n = model->info().dimensions;
  std::vector<float> found(static_cast<size_t>(n * (is_token ? cu_lengths.back() : 3)));
  std::vector<float*> outputs;
  for (int64_t b = 0; b < 3; ++b)
    outputs.push_back(found.data() + n * (is_token ? cu_lengths[static_cast<size_t>(b)] : b));
  if (model->info().types == 1) types.clear();
  model->forward({ids, cu_lengths, types}, outputs, pool);
  return found;
}

inline double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double same = 0, ours = 0, theirs = 0;
  for (size_t i = 0; i < a.size(); ++i) same += a[i] * b[i], ours += a[i] * a[i], theirs += b[i] * b[i];
  return same / std::sqrt(ours * theirs);
}

inline void expect_alike(const std::string& directory, const std::string& precision) {
  // int8 rounds the same way on both; bf16 is compared with what it stands for.
  const std::string other = precision == "bf16" ? "f32" : precision;
  const auto expected = answers(directory, {.precision = other});
  const auto found = answers(directory, {.precision = precision, .device = "cuda"});
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size() && precision == "f32"; ++i)
    ASSERT_NEAR(found[i], expected[i], 2e-5 * std::max(1.0f, std::fabs(expected[i]))) << "at " << i;
  EXPECT_GE(cosine(found, expected), precision == "int8" ? 0.99 : 0.9995) << precision;
}

// Two texts: prompts of 40 and 5 tokens, the longer one in two stretches, then the likeliest tokens for each,
// or those of `follow`: two ways to round may tell two tokens apart that are all but equally likely.
struct Texts {
  std::vector<int32_t> first, second;
  std::vector<float> logits;  // of all steps
};

inline Texts write(LanguageModel& model, KvType kv, bool chooses_on_device, int steps,
                   const Texts* follow = nullptr) {
  ThreadPool pool(1);
  model.reserve({.step_tokens = 32, .step_wanted = 32, .context = 128, .blocks = 6, .kv = kv, .threads = 1});
  const std::vector<int32_t> blocks[2] = {{4, 1, 5}, {2, 0}};
  std::vector<int32_t> ids[2];
  for (int32_t i = 0; i < 40; ++i) ids[0].push_back((i * 29 + 3) % 128);
  for (int32_t i = 0; i < 5; ++i) ids[1].push_back((i * 17 + 9) % 128);
  std::vector<float> logits(2 * 128);
  const std::vector<StepSpan> begin = {{25, 0, blocks[0].data(), 0}};
  model.step({std::span(ids[0]).first(25), begin}, logits.data(), pool);
  int64_t done[2] = {25, 0};
  Texts texts;
  for (int step = 0; step < steps; ++step) {
    std::vector<int32_t> batch;
    std::vector<StepSpan> spans;
    for (int s = 0; s < 2; ++s) {
      const auto count = static_cast<int64_t>(ids[s].size()) - done[s];
      batch.insert(batch.end(), ids[s].begin() + done[s], ids[s].end());
      spans.push_back({count, done[s], blocks[s].data(), 1});
      done[s] += count;
    }
    model.step({batch, spans}, chooses_on_device ? nullptr : logits.data(), pool);
    int32_t tokens[2];
    if (chooses_on_device) {
      const cuda::SamplingRow likeliest{0, 0, 1, 0, 1, 0, 0, 0};
      const std::vector<cuda::SamplingRow> rows = {likeliest, likeliest};
      model.device()->choose(rows, tokens);
    } else {
      for (int s = 0; s < 2; ++s)
        tokens[s] =
            static_cast<int32_t>(std::max_element(logits.begin() + 128 * s, logits.begin() + 128 * (s + 1)) -
                                 logits.begin() - 128 * s);
    }
    for (int s = 0; s < 2; ++s) {
      const std::vector<int32_t>* given = follow ? (s == 0 ? &follow->first : &follow->second) : nullptr;
      ids[s].push_back(given ? (*given)[ids[s].size()] : tokens[s]);
    }
    if (!chooses_on_device) texts.logits.insert(texts.logits.end(), logits.begin(), logits.end());
  }
  texts.first = ids[0];
  texts.second = ids[1];
  return texts;
}

inline Texts write(const std::string& directory, const LoadOptions& options, KvType kv = KvType::kF32,
                   bool chooses_on_device = false, int steps = 10, const Texts* follow = nullptr) {
  return write(*LanguageModel::load(directory, kernels_by_name("reference"), options), kv, chooses_on_device,
               steps, follow);
}

// bound: of the logits; 0: they may be anything.
inline void expect_same(const Texts& found, const Texts& expected, float bound = 0) {
  if (bound > 0) cuda::expect_near(found.logits, expected.logits, bound);
  if (!found.logits.empty()) {
    EXPECT_GE(cosine(found.logits, expected.logits), 0.999);
  }
  EXPECT_EQ(found.first, expected.first);
  EXPECT_EQ(found.second, expected.second);
}

}  // namespace headrace
