// From hidden states to one vector against plain loops in double precision, on every table.
#include "models/sentence.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "models/tensor_files.h"

namespace headrace {
namespace {

constexpr int64_t kHidden = 24;
using Row = std::vector<double>;

// A batch of sequences of random hidden states.
struct States {
  std::vector<int32_t> ids, cu_lengths{0}, prompts;
  std::vector<float> hidden;

  explicit States(const std::vector<int>& lengths) {
    for (const int length : lengths) cu_lengths.push_back(cu_lengths.back() + length);
    ids.resize(static_cast<size_t>(cu_lengths.back()));
    hidden = random_tensor({cu_lengths.back(), kHidden}).values;
  }
  TokenBatch batch() const {
    TokenBatch made{ids, cu_lengths};
    made.prompts = prompts;
    return made;
  }
};

class SentenceModules : public testing::TestWithParam<const Kernels*> {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "sentence_test_" + std::to_string(getpid());
    std::filesystem::create_directory(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void add(const std::string& name, const std::string& config, const Tensors& tensors = {}) {
    const std::string folder = concat(++modules_, "_", name), path = concat(directory_, "/", folder);
    std::filesystem::create_directory(path);
    std::ofstream(path + "/config.json") << config;
    if (!tensors.empty()) write_tensors(tensors, path + "/model.safetensors");
    text_ += concat(R"(, {"path": ")", folder, R"(", "type": "sentence_transformers.models.)", name, "\"}");
    std::ofstream(directory_ + "/modules.json") << text_ << "]";
  }
  std::unique_ptr<Sentence> load() const { return Sentence::load(directory_, kHidden, *GetParam()); }

  static std::vector<std::vector<float>> run(Sentence& sentence, const States& states) {
    ModelInfo info;
    sentence.describe(info);
    const TokenBatch batch = states.batch();
    std::vector<std::vector<float>> rows(static_cast<size_t>(batch.sequences()),
                                         std::vector<float>(static_cast<size_t>(info.dimensions)));
    std::vector<float*> outputs;
    for (auto& row : rows) outputs.push_back(row.data());
    ThreadPool pool(2);
    sentence.reserve(batch.tokens());
    sentence.forward(batch, states.hidden.data(), outputs, pool);
    return rows;
  }

  std::string directory_;
  std::string text_ = R"([{"path": "", "type": "sentence_transformers.models.Transformer"})";
  int modules_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Models, SentenceModules,
                         testing::ValuesIn(runnable_kernels().begin(), runnable_kernels().end()),
                         [](const auto& each) { return std::string(each.param->name); });

// All six ways of one sequence, of whose tokens the first `skip` are left out.
Row pooled(const States& states, size_t sequence, int64_t skip) {
  const int64_t begin = states.cu_lengths[sequence] + skip, end = states.cu_lengths[sequence + 1];
  Row first, largest, mean, root, weighted, last;
  for (int64_t c = 0; c < kHidden; ++c) {
    double sum = 0, weights = 0, weighed = 0, most = -1e9;
    for (int64_t t = begin; t < end; ++t) {
      const double x = states.hidden[static_cast<size_t>(t * kHidden + c)];
      const auto weight = static_cast<double>(t - begin + skip + 1);
      sum += x;
      weighed += weight * x;
      weights += weight;
      most = std::max(most, x);
    }
    const auto rows = static_cast<double>(end - begin);
    first.push_back(states.hidden[static_cast<size_t>(begin * kHidden + c)]);
    largest.push_back(most);
    mean.push_back(sum / rows);
    root.push_back(sum / std::sqrt(rows));
    weighted.push_back(weighed / weights);
    last.push_back(states.hidden[static_cast<size_t>((end - 1) * kHidden + c)]);
  }
  Row all;
  for (const Row& part : {first, largest, mean, root, weighted, last})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

constexpr const char* kAllModes =
    R"({"pooling_mode": ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"],
        "include_prompt": false})";

TEST_P(SentenceModules, pools_in_every_way_without_the_prompt) {
  add("Pooling", kAllModes);
  const auto sentence = load();
  States states({1, 2, 7, 30, 5});
  states.prompts = {0, 1, 3, 29, 9};  // of the last all but one token, there being no more
  const auto rows = run(*sentence, states);
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t length = states.cu_lengths[i + 1] - states.cu_lengths[i];
    const Row expected = pooled(states, i, std::min<int64_t>(states.prompts[i], length - 1));
    ASSERT_EQ(rows[i].size(), expected.size());
    for (size_t d = 0; d < expected.size(); ++d)
      ASSERT_NEAR(rows[i][d], expected[d], 2e-6) << "sequence " << i << " dimension " << d;
  }
}

TEST_P(SentenceModules, runs_the_modules_in_their_order) {
  Tensors dense, wider, norm;
  add_linear(dense, "linear", 10, 6 * kHidden);
  add_linear(wider, "linear", 13, 10);
  wider.erase("linear.bias");
  wider["residual.weight"] = random_tensor({13, 10});
  norm["norm.weight"] = random_tensor({10});
  norm["norm.bias"] = random_tensor({10});
  add("Pooling", kAllModes);
  add("Dense", R"({"in_features": 144, "out_features": 10})", dense);
  add("LayerNorm", R"({"dimension": 10})", norm);
  add("Dense", R"({"in_features": 10, "out_features": 13, "bias": false, "use_residual": true,
      "activation_function": "torch.nn.modules.activation.ReLU"})",
      wider);
  add("Normalize", "{}");
  const auto sentence = load();
  ModelInfo info;
  sentence->describe(info);
  EXPECT_EQ(info.dimensions, 13);
  EXPECT_TRUE(info.normalized);
  EXPECT_EQ(info.parameters, 10 * 144 + 10 + 20 + 2 * 130);

  std::vector<int> lengths;  // more than go through at a time
  for (int i = 0; i < 150; ++i) lengths.push_back(1 + i % 11);
  const States states(lengths);
  const auto rows = run(*sentence, states);
  const auto times = [](const Tensor& w, const Row& x, size_t n) {
    double sum = 0;
    for (size_t k = 0; k < x.size(); ++k) sum += static_cast<double>(w.values[n * x.size() + k]) * x[k];
    return sum;
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    Row x = pooled(states, i, 0), h(10), y(13);
    double mean = 0, variance = 0, square = 0;
    for (size_t n = 0; n < 10; ++n) {
      h[n] = std::tanh(times(dense["linear.weight"], x, n) + dense["linear.bias"].values[n]);
      mean += h[n] / 10;
    }
    for (const double value : h) variance += (value - mean) * (value - mean) / 10;
    for (size_t n = 0; n < 10; ++n)
      h[n] = (h[n] - mean) / std::sqrt(variance + 1e-5) * norm["norm.weight"].values[n] +
             norm["norm.bias"].values[n];
    for (size_t n = 0; n < 13; ++n) {
      y[n] = std::max(times(wider["linear.weight"], h, n), 0.0) + times(wider["residual.weight"], h, n);
      square += y[n] * y[n];
    }
    for (size_t n = 0; n < 13; ++n)
      ASSERT_NEAR(rows[i][n], y[n] / std::sqrt(square), 5e-6) << "sequence " << i << " dimension " << n;
  }
  // The last alone has the same bits.
  States alone({lengths.back()});
  alone.hidden.assign(states.hidden.end() - static_cast<int64_t>(alone.hidden.size()), states.hidden.end());
  EXPECT_EQ(run(*sentence, alone)[0], rows.back());
}

TEST_P(SentenceModules, widths_that_do_not_fit_are_corrupt) {
  Tensors dense;
  add_linear(dense, "linear", 10, 23);
  add("Pooling", R"({"pooling_mode": "mean"})");
  add("Dense", R"({"in_features": 23, "out_features": 10})", dense);
  try {
    load();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorruptFile);
    EXPECT_NE(error.message().find("takes vectors of 23 numbers, and what stands before it gives 24"),
              std::string::npos)
        << error.message();
  }
  std::ofstream(directory_ + "/1_Pooling/config.json") << R"({"embedding_dimension": 32})";
  EXPECT_THROW(load(), Error);
}

TEST(Curves, are_those_of_torch) {
  // torch 2.13 in double precision, at -3, -0.5, 0, 0.7 and 25.
  const float at[] = {-3.0f, -0.5f, 0.0f, 0.7f, 25.0f};
  const std::pair<const char*, std::vector<double>> expected[] = {
      {"Identity", {-3.0, -0.5, 0.0, 0.7, 25.0}},
      {"Tanh", {-0.995054754, -0.462117157, 0.0, 0.604367777, 1.0}},
      {"GELU", {-0.004049694, -0.154268770, 0.0, 0.530625442, 25.0}},
      {"ReLU", {0.0, 0.0, 0.0, 0.7, 25.0}},
      {"LeakyReLU", {-0.03, -0.005, 0.0, 0.7, 25.0}},
      {"ELU", {-0.950212932, -0.393469340, 0.0, 0.7, 25.0}},
      {"SiLU", {-0.142277620, -0.188770335, 0.0, 0.467731440, 25.0}},
      {"Sigmoid", {0.047425873, 0.377540669, 0.5, 0.668187772, 1.0}},
      {"Softplus", {0.048587352, 0.474076984, 0.693147181, 1.103186049, 25.0}},
      {"Mish", {-0.145647461, -0.220743775, 0.0, 0.561148378, 25.0}},
  };
  for (const auto& [name, values] : expected) {
    const auto curve = curve_by_class(concat("torch.nn.modules.activation.", name));
    ASSERT_TRUE(curve) << name;
    float x[5];
    std::copy(std::begin(at), std::end(at), x);
    bend(*curve, kernels(), x, 5);
    for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(x[i], values[i], 2e-6) << name << " at " << at[i];
  }
  EXPECT_FALSE(curve_by_class("Tanh"));
  EXPECT_FALSE(curve_by_class("torch.nn.Hardtanh"));
}

}  // namespace
}  // namespace headrace
