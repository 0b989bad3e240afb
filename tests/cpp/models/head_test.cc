// Heads against plain loops in double precision, on every table, over checkpoints that the test writes.
#include "models/head.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "models/tensor_files.h"
#include "tensor/checkpoint.h"
#include "tensor/safetensors.h"

namespace headrace {
namespace {

constexpr int64_t kHidden = 24;

// A directory of its own, gone with the object.
class Saved {
 public:
  explicit Saved(const Tensors& tensors)
      : directory_(testing::TempDir() + "head_test_" + std::to_string(getpid())) {
    std::filesystem::create_directory(directory_);
    write_tensors(tensors, directory_ + "/model.safetensors");
  }
  ~Saved() { std::filesystem::remove_all(directory_); }
  Saved(const Saved&) = delete;
  Saved& operator=(const Saved&) = delete;

  std::unique_ptr<Head> load(const HeadConfig& config, const Kernels& kernels, int64_t vocabulary = 1) const {
    const Checkpoint checkpoint = Checkpoint::open(directory_);
    WeightReader reader(checkpoint, "", kernels);
    return Head::load(config,
                      {.hidden = kHidden, .vocabulary = vocabulary, .embedding = kHidden, .norm_eps = 1e-12f},
                      reader, kernels);
  }

 private:
  std::string directory_;
};

std::vector<double> linear(const Tensors& tensors, const std::string& weight, const std::string& bias,
                           const std::vector<double>& x) {
  const std::vector<float>& w = tensors.at(weight).values;
  const std::vector<float>& b = tensors.at(bias).values;
  std::vector<double> y(b.begin(), b.end());
  for (size_t n = 0; n < y.size(); ++n)
    for (size_t k = 0; k < x.size(); ++k) y[n] += static_cast<double>(w[n * x.size() + k]) * x[k];
  return y;
}

using Curve = std::function<double(double)>;
double gelu(double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double relu(double x) { return std::max(x, 0.0); }

class OnEachTable : public testing::TestWithParam<const Kernels*> {
 protected:
  // A batch of these lengths with random hidden states; answers of all sequences, row by row.
  std::vector<float> run(Head& head, const std::vector<int32_t>& lengths,
                         const std::vector<int32_t>& picked = {}) {
    std::vector<int32_t> cu_lengths{0};
    for (const int32_t length : lengths) cu_lengths.push_back(cu_lengths.back() + length);
    const std::vector<int32_t> ids(static_cast<size_t>(cu_lengths.back()));
    hidden_ = random_tensor({cu_lengths.back(), kHidden});
    ModelInfo info;
    head.describe(info);
    std::vector<size_t> rows{0};
    for (size_t b = 0; b < lengths.size(); ++b) {
      size_t count = info.rows == AnswerRows::kToken ? static_cast<size_t>(lengths[b]) : 1;
      if (info.rows == AnswerRows::kPicked)
        count = static_cast<size_t>(std::count_if(picked.begin(), picked.end(), [&](int32_t token) {
          return token >= cu_lengths[b] && token < cu_lengths[b + 1];
        }));
      rows.push_back(rows.back() + count);
    }
    const auto columns = static_cast<size_t>(info.dimensions);
    std::vector<float> answers(rows.back() * columns, NAN);
    std::vector<float*> outputs;
    for (size_t b = 0; b < lengths.size(); ++b) outputs.push_back(answers.data() + rows[b] * columns);
    head.reserve(cu_lengths.back());
    ThreadPool pool(2);
    head.forward({ids, cu_lengths, {}, picked}, hidden_.values.data(), outputs, pool);
    return answers;
  }
  std::vector<double> state(int64_t token) const {
    const auto begin = hidden_.values.begin() + token * kHidden;
    return {begin, begin + kHidden};
  }
  void expect_row(std::span<const float> answers, size_t row, const std::vector<double>& expected) {
    for (size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(answers[row * expected.size() + i], expected[i], 1e-5) << row << ", " << i;
  }

  Tensor hidden_;
};
INSTANTIATE_TEST_SUITE_P(Heads, OnEachTable,
                         testing::ValuesIn(runnable_kernels().begin(), runnable_kernels().end()),
                         [](const auto& table) { return std::string(table.param->name); });

TEST_P(OnEachTable, first_token_heads_of_every_architecture) {
  struct Case {
    const char* type;
    const char* dense;
    const char* out;
    Curve curve;
  };
  const Curve tanh = [](double x) { return std::tanh(x); };
  for (const Case& c : {Case{"bert", "bert.pooler.dense", "classifier", tanh},
                        {"albert", "albert.pooler", "classifier", tanh},
                        {"distilbert", "pre_classifier", "classifier", relu},
                        {"roberta", "classifier.dense", "classifier.out_proj", tanh},
                        {"xlm-roberta", "classifier.dense", "classifier.out_proj", tanh},
                        {"mpnet", "classifier.dense", "classifier.out_proj", tanh},
                        {"electra", "classifier.dense", "classifier.out_proj", gelu},
                        {"deberta-v2", "pooler.dense", "classifier", gelu}}) {
    Tensors tensors;
    add_linear(tensors, c.dense, kHidden, kHidden);
    add_linear(tensors, c.out, 3, kHidden);
    const Saved checkpoint(tensors);
    const auto head =
        checkpoint.load({.task = "classify", .model_type = c.type, .labels = {"a", "b", "c"}}, *GetParam());
    const std::vector<int32_t> lengths{3, 1, 7};
    const std::vector<float> answers = run(*head, lengths);
    const std::string dense = c.dense, out = c.out;
    for (const auto& [row, token] : {std::pair<size_t, int64_t>{0, 0}, {1, 3}, {2, 4}}) {
      std::vector<double> middle = linear(tensors, dense + ".weight", dense + ".bias", state(token));
      for (double& x : middle) x = c.curve(x);
      expect_row(answers, row, linear(tensors, out + ".weight", out + ".bias", middle));
    }
  }
}

TEST_P(OnEachTable, token_heads_answer_for_every_token) {
  for (const char* task : {"tag", "answer"}) {
    const std::string name = std::string(task) == "tag" ? "classifier" : "qa_outputs";
    const int64_t labels = std::string(task) == "tag" ? 5 : 2;
    Tensors tensors;
    add_linear(tensors, name, labels, kHidden);
    const Saved checkpoint(tensors);
    const auto head = checkpoint.load(
        {.task = task, .model_type = "any", .labels = std::vector<std::string>(static_cast<size_t>(labels))},
        *GetParam());
    const std::vector<float> answers = run(*head, {2, 5, 1});
    for (int64_t token = 0; token < 8; ++token)
      expect_row(answers, static_cast<size_t>(token),
                 linear(tensors, name + ".weight", name + ".bias", state(token)));
  }
}

// The vocabulary is large enough that rows go through it in several portions; its matrix is the embeddings'.
TEST_P(OnEachTable, a_vocabulary_answers_at_the_picked_tokens) {
  const bool slow = std::string(GetParam()->name) == "reference";
  const int64_t vocabulary = slow ? 3000 : 70'000;
  Tensors tensors;
  add_linear(tensors, "cls.predictions.transform.dense", kHidden, kHidden);
  tensors["cls.predictions.transform.LayerNorm.weight"] = random_tensor({kHidden});
  tensors["cls.predictions.transform.LayerNorm.bias"] = random_tensor({kHidden});
  tensors["bert.embeddings.word_embeddings.weight"] = random_tensor({vocabulary, kHidden});
  tensors["cls.predictions.bias"] = random_tensor({vocabulary});
  const Saved checkpoint(tensors);
  const auto head = checkpoint.load({.task = "fill_mask", .model_type = "bert"}, *GetParam(), vocabulary);
  std::vector<int32_t> picked;
  for (int32_t token = 0; token < 60; token += token < 40 ? 2 : 5) picked.push_back(token);
  const std::vector<float> answers = run(*head, {1, 19, 1, 30, 9}, picked);
  ASSERT_EQ(answers.size(), picked.size() * static_cast<size_t>(vocabulary));
  for (const size_t row : {size_t{0}, size_t{1}, size_t{15}, size_t{16}, picked.size() - 1}) {
    std::vector<double> x = linear(tensors, "cls.predictions.transform.dense.weight",
                                   "cls.predictions.transform.dense.bias", state(picked[row]));
    double mean = 0, variance = 0;
    for (double& value : x) mean += (value = gelu(value)) / kHidden;
    for (const double value : x) variance += (value - mean) * (value - mean) / kHidden;
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = (x[i] - mean) / std::sqrt(variance + 1e-12) *
                 static_cast<double>(tensors["cls.predictions.transform.LayerNorm.weight"].values[i]) +
             static_cast<double>(tensors["cls.predictions.transform.LayerNorm.bias"].values[i]);
    expect_row(answers, row,
               linear(tensors, "bert.embeddings.word_embeddings.weight", "cls.predictions.bias", x));
  }
}

TEST(HeadErrors, what_is_missing_or_unknown_is_named) {
  Tensors tensors;
  add_linear(tensors, "classifier", 3, kHidden);
  const Saved checkpoint(tensors);
  const auto fails = [&](const HeadConfig& config, ErrorKind kind, const char* message) {
    try {
      checkpoint.load(config, kernels());
      ADD_FAILURE() << message;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind);
      EXPECT_NE(error.message().find(message), std::string::npos) << error.message();
    }
  };
  fails({.task = "classify", .model_type = "bert", .labels = {"a", "b", "c"}}, ErrorKind::kCorruptFile,
        "'bert.pooler.dense.weight' is missing");
  fails({.task = "tag", .labels = {"a", "b"}}, ErrorKind::kCorruptFile, "has shape [3, 24]");
  fails({.task = "classify", .model_type = "gru", .labels = {"a", "b", "c"}}, ErrorKind::kUnsupported,
        "'gru'");
  fails({.task = "fill_mask", .model_type = "gru"}, ErrorKind::kUnsupported, "'gru'");
  fails({.task = "fill_mask", .model_type = "roberta"}, ErrorKind::kCorruptFile, "'lm_head.dense.weight'");
}

}  // namespace
}  // namespace headrace
