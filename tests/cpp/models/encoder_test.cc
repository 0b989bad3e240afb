// The tiny golden model (tests/golden/make_golden.py) against what transformers computed, on every table.
#include "models/encoder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <sstream>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "models/tensor_files.h"

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

// Counted for one test below: a forward pass in steady state must not allocate. Sanitizers bring their own
// operators.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
__attribute__((noinline)) void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
__attribute__((noinline)) void operator delete(void* p) noexcept { std::free(p); }
__attribute__((noinline)) void operator delete(void* p, size_t) noexcept { std::free(p); }
#endif

namespace headrace {
namespace {

const std::string kDirectory = std::string(HEADRACE_GOLDEN) + "/tiny_bert";

struct Golden {
  std::vector<int32_t> ids;
  std::vector<float> vector;
};

std::vector<Golden> read_golden() {
  std::ifstream file(kDirectory + "/expected.txt");
  std::vector<Golden> all;
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    Golden golden;
    std::istringstream ids(line.substr(0, colon)), vector(line.substr(colon + 1));
    for (int32_t id; ids >> id;) golden.ids.push_back(id);
    for (float value; vector >> value;) golden.vector.push_back(value);
    all.push_back(std::move(golden));
  }
  return all;
}

// All sequences of `order` as one batch.
std::vector<std::vector<float>> run(Encoder& model, const std::vector<Golden>& golden,
                                    std::vector<size_t> order, ThreadPool& pool) {
  std::vector<int32_t> ids, cu_lengths{0};
  std::vector<std::vector<float>> vectors(order.size(), std::vector<float>(model.info().dimensions));
  std::vector<float*> outputs;
  for (size_t i = 0; i < order.size(); ++i) {
    ids.insert(ids.end(), golden[order[i]].ids.begin(), golden[order[i]].ids.end());
    cu_lengths.push_back(static_cast<int32_t>(ids.size()));
    outputs.push_back(vectors[i].data());
  }
  model.forward({ids, cu_lengths}, outputs, pool);
  return vectors;
}

class EncoderOnEachTable : public testing::TestWithParam<std::tuple<const Kernels*, const char*>> {
 protected:
  std::string precision() const { return std::get<1>(GetParam()); }
  std::unique_ptr<Encoder> load() const {
    return Encoder::load(kDirectory, *std::get<0>(GetParam()), {.precision = precision()});
  }
};
INSTANTIATE_TEST_SUITE_P(Models, EncoderOnEachTable,
                         testing::Combine(testing::ValuesIn(runnable_kernels().begin(),
                                                            runnable_kernels().end()),
                                          testing::Values("f32", "bf16", "int8")),
                         [](const auto& each) {
                           return std::string(std::get<0>(each.param)->name) + "_" + std::get<1>(each.param);
                         });

// The golden model with every module of sentence-transformers behind it, in a directory of its own.
class WithModules {
 public:
  WithModules() : directory_(testing::TempDir() + "encoder_test_" + std::to_string(getpid())) {
    namespace fs = std::filesystem;
    fs::remove_all(directory_);
    fs::copy(kDirectory, directory_, fs::copy_options::recursive);
    for (const char* folder : {"/2_Dense", "/3_LayerNorm"}) fs::create_directory(directory_ + folder);
    write("1_Pooling/config.json",
          R"({"pooling_mode": ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]})");
    write("2_Dense/config.json", R"({"in_features": 144, "out_features": 24, "use_residual": true})");
    write("3_LayerNorm/config.json", R"({"dimension": 24})");
    write("modules.json", R"([{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"path": "3_LayerNorm", "type": "sentence_transformers.models.LayerNorm"},
        {"path": "4_Normalize", "type": "sentence_transformers.models.Normalize"}])");
    Tensors dense, norm;
    add_linear(dense, "linear", 24, 144);
    dense["residual.weight"] = random_tensor({24, 144});
    norm["norm.weight"] = random_tensor({24});
    norm["norm.bias"] = random_tensor({24});
    write_tensors(dense, directory_ + "/2_Dense/model.safetensors");
    write_tensors(norm, directory_ + "/3_LayerNorm/model.safetensors");
  }
  ~WithModules() { std::filesystem::remove_all(directory_); }
  const std::string& directory() const { return directory_; }

 private:
  void write(const std::string& name, const char* text) { std::ofstream(directory_ + "/" + name) << text; }
  std::string directory_;
};

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

TEST_P(EncoderOnEachTable, equals_transformers_within_the_bound) {
  const std::vector<Golden> golden = read_golden();
  ASSERT_GE(golden.size(), 5u);
  const auto model = load();
  EXPECT_EQ(model->info().precision, precision());
  ThreadPool pool(2);
  model->reserve(128, pool.threads());
  const auto vectors = run(*model, golden, {0, 1, 2, 3, 4, 5}, pool);
  for (size_t i = 0; i < golden.size(); ++i) {
    EXPECT_GT(cosine(vectors[i], golden[i].vector), precision() == "int8" ? 0.997 : 0.9995) << i;
    if (precision() != "f32") continue;
    for (size_t d = 0; d < golden[i].vector.size(); ++d)
      ASSERT_NEAR(vectors[i][d], golden[i].vector[d], 2e-5) << "sequence " << i << " dimension " << d;
  }
}

void expect_same_bits_in_any_batch(Encoder* model) {
  const std::vector<Golden> golden = read_golden();
  std::vector<std::vector<float>> alone;
  {
    ThreadPool one(1);
    model->reserve(64, 1);
    for (size_t i = 0; i < golden.size(); ++i) alone.push_back(run(*model, golden, {i}, one)[0]);
  }
  ThreadPool pool(3);
  model->reserve(2400, pool.threads());
  std::vector<size_t> many;  // enough rows for blocks of them, where few are shared out by columns
  for (size_t i = 0; i < 100; ++i) many.push_back(i * 7 % golden.size());
  for (const std::vector<size_t>& order :
       {std::vector<size_t>{5, 4, 3, 2, 1, 0}, {3, 3, 3, 0}, {0, 1, 0, 1, 2, 5, 5, 4, 3, 3}, many}) {
    const auto vectors = run(*model, golden, order, pool);
    for (size_t i = 0; i < order.size(); ++i)
      ASSERT_EQ(vectors[i], alone[order[i]]) << "sequence " << order[i];
  }
}

TEST_P(EncoderOnEachTable, gives_the_same_bits_alone_and_in_any_batch) {
  expect_same_bits_in_any_batch(load().get());
  const WithModules modules;
  expect_same_bits_in_any_batch(
      Encoder::load(modules.directory(), *std::get<0>(GetParam()), {.precision = precision()}).get());
}

void expect_no_allocation(Encoder* model) {
  const std::vector<Golden> golden = read_golden();
  ThreadPool pool(2);
  model->reserve(64, pool.threads());
  std::vector<float> out(24);
  float* outputs[] = {out.data()};
  const std::vector<int32_t> cu_lengths{0, static_cast<int32_t>(golden[3].ids.size())};
  const TokenBatch batch{golden[3].ids, cu_lengths};
  model->forward(batch, outputs, pool);
  const int64_t before = allocations.load();
  for (int i = 0; i < 10; ++i) model->forward(batch, outputs, pool);
  EXPECT_EQ(allocations.load(), before);
}

TEST_P(EncoderOnEachTable, allocates_nothing_in_a_steady_forward) {
  expect_no_allocation(load().get());
  const WithModules modules;
  expect_no_allocation(
      Encoder::load(modules.directory(), *std::get<0>(GetParam()), {.precision = precision()}).get());
}

TEST(Encoder, says_what_it_is) {
  const auto model = Encoder::load(kDirectory, kernels());
  EXPECT_EQ(model->info().task, "embed");
  EXPECT_EQ(model->info().dimensions, 24);
  EXPECT_EQ(model->info().max_tokens, 24);
  EXPECT_EQ(model->info().precision, kernels().has_bf16 ? "bf16" : "f32");
}

TEST(Encoder, weights_take_the_bytes_of_their_precision_however_many_threads_run) {
  int64_t before = INT64_MAX;
  for (const char* precision : {"f32", "bf16", "int8"}) {
    const auto model = Encoder::load(kDirectory, *runnable_kernels().front(), {.precision = precision});
    const int64_t bytes = model->info().weight_bytes;
    model->reserve(64, 8);
    EXPECT_EQ(model->info().weight_bytes, bytes);
    if (kernels().has_bf16) {
      EXPECT_LT(bytes, before) << precision;
    }
    before = bytes;
  }
}

TEST(Encoder, an_unknown_precision_is_refused) {
  try {
    Encoder::load(kDirectory, kernels(), {.precision = "int7"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    EXPECT_NE(error.message().find("int7"), std::string::npos);
  }
}

TEST(Encoder, a_missing_directory_is_not_found) {
  try {
    Encoder::load("/nonexistent/model", kernels());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_NE(error.message().find("/nonexistent/model"), std::string::npos);
  }
}

}  // namespace
}  // namespace headrace
