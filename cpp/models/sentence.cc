#include "models/sentence.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "models/weights.h"
#include "tensor/checkpoint.h"

namespace headrace {
namespace {

constexpr int64_t kChunkRows = 64;
constexpr float kNormEps = 1e-5f;  // of torch.nn.LayerNorm

void check_width(const ModelPath& directory, int64_t expected, int64_t found) {
  if (expected != found)
    throw Error(ErrorKind::kCorruptFile, concat(directory.name(), "/config.json: takes vectors of ", expected,
                                                " numbers, and what stands before it gives ", found));
}

// y[c] = sum_t weight(t) x[t, c], t ascending.
template <typename Weight>
void weighted_sum(const float* x, int64_t rows, int64_t c, const Weight& weight, float* y) {
  std::fill(y, y + c, 0.0f);
  for (int64_t t = 0; t < rows; ++t) {
    const float w = weight(t);
    for (int64_t i = 0; i < c; ++i) y[i] += w * x[t * c + i];
  }
}

void largest(const float* x, int64_t rows, int64_t c, float* y) {
  std::copy(x, x + c, y);
  for (int64_t t = 1; t < rows; ++t)
    for (int64_t i = 0; i < c; ++i) y[i] = std::max(y[i], x[t * c + i]);
}

}  // namespace

std::unique_ptr<Sentence> Sentence::load(const ModelPath& directory, int64_t hidden, const Kernels& kernels) {
  std::unique_ptr<Sentence> sentence(new Sentence(kernels));
  sentence->config_ = read_sentence_config(directory);
  sentence->hidden_ = hidden;
  const SentenceConfig& config = sentence->config_;
  if (config.pooled_width.value_or(hidden) != hidden)
    throw Error(ErrorKind::kCorruptFile, concat(directory.name(), ": the Pooling takes hidden states of ",
                                                *config.pooled_width, " numbers, the encoder has ", hidden));
  int64_t width = hidden * static_cast<int64_t>(config.pooling.size());
  sentence->widest_ = width;
  for (const SentenceModule& module : config.modules) {
    Step& step = sentence->steps_.emplace_back();
    step.kind = module.kind;
    step.width = width;
    if (module.kind == SentenceModule::Kind::kNormalize) continue;
    sentence->only_normalizes_ = false;
    check_width(module.directory, module.in, width);
    const Checkpoint checkpoint = Checkpoint::open(module.directory);
    WeightReader reader(checkpoint, "", kernels);
    if (module.kind == SentenceModule::Kind::kLayerNorm) {
      step.norm = reader.layer_norm("norm", width, kNormEps);
    } else {
      step.dense = reader.linear_of("linear.weight", module.bias ? "linear.bias" : "", module.out, module.in);
      step.curve = module.curve;
      step.adds_input = module.residual;
      if (module.residual && module.in != module.out)
        step.residual = reader.linear_of("residual.weight", "", module.out, module.in);
      step.width = width = module.out;
    }
    sentence->parameters_ += reader.parameters();
    sentence->widest_ = std::max(sentence->widest_, width);
  }
  sentence->width_ = width;
  return sentence;
}

void Sentence::describe(ModelInfo& info) const {
  info.dimensions = width_;
  info.normalized = !steps_.empty() && steps_.back().kind == SentenceModule::Kind::kNormalize;
  info.pools_prompt = config_.pools_prompt;
  info.prompts = config_.prompts;
  info.default_prompt = config_.default_prompt;
  info.similarity = config_.similarity;
  info.parameters += parameters_;
}

HiddenRows Sentence::reads(const TokenBatch& batch) const {
  if (config_.pooling.size() != 1 || !batch.prompts.empty()) return HiddenRows::kAll;
  const Pooling pooling = config_.pooling.front();
  if (pooling == Pooling::kFirst) return HiddenRows::kFirst;
  return pooling == Pooling::kMean ? HiddenRows::kMean : HiddenRows::kAll;
}

void Sentence::reserve(int64_t max_batch_tokens) {
  if (only_normalizes_) return;
  chunk_rows_ = std::min(kChunkRows, max_batch_tokens);
  for (Buffer& rows : rows_) rows = Buffer(chunk_rows_ * widest_);
}

void Sentence::forward(const TokenBatch& batch, const float* hidden, std::span<float* const> outputs,
                       ThreadPool& pool) {
  if (only_normalizes_) {
    pool.parallel_for(batch.sequences(), [&](int64_t sequence, int) {
      float* const out = outputs[static_cast<size_t>(sequence)];
      pool_sequence(batch, sequence, hidden, out);
      for (size_t i = 0; i < steps_.size(); ++i) kernels_.l2_normalize(out, width_, out);
    });
    return;
  }
  const int64_t pooled = hidden_ * static_cast<int64_t>(config_.pooling.size());
  for (int64_t begin = 0; begin < batch.sequences(); begin += chunk_rows_) {
    const int64_t count = std::min(chunk_rows_, batch.sequences() - begin);
    float *x = rows_[0].data(), *spare = rows_[1].data();
    pool.parallel_for(count,
                      [&](int64_t i, int) { pool_sequence(batch, begin + i, hidden, x + i * pooled); });
    for (const Step& step : steps_) run(step, count, &x, &spare, pool);
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(outputs[static_cast<size_t>(begin + i)], x + i * width_,
                  static_cast<size_t>(width_) * sizeof(float));
  }
}

void Sentence::pool_sequence(const TokenBatch& batch, int64_t sequence, const float* hidden,
                             float* out) const {
  const auto index = static_cast<size_t>(sequence);
  const int64_t c = hidden_, begin = batch.cu_lengths[index];
  const int64_t length = batch.cu_lengths[index + 1] - begin;
  // Something is left to pool even where a prompt and its text became one token.
  const int64_t skip = std::min<int64_t>(batch.prompt(sequence), length - 1);
  const float* const x = hidden + (begin + skip) * c;
  const int64_t rows = length - skip;
  for (const Pooling pooling : config_.pooling) {
    switch (pooling) {
      case Pooling::kFirst:
        std::copy(x, x + c, out);
        break;
      case Pooling::kMax:
        largest(x, rows, c, out);
        break;
      case Pooling::kMean:
        kernels_.mean_pool(x, rows, c, out);
        break;
      case Pooling::kMeanSqrtLength: {
        const float weight = 1.0f / std::sqrt(static_cast<float>(rows));
        weighted_sum(x, rows, c, [&](int64_t) { return weight; }, out);
        break;
      }
      case Pooling::kWeightedMean: {
        // Places count from the start of the sequence, a prompt included.
        const double sum = 0.5 * static_cast<double>(rows) * static_cast<double>(2 * skip + rows + 1);
        weighted_sum(
            x, rows, c,
            [&](int64_t t) { return static_cast<float>(static_cast<double>(skip + t + 1) / sum); }, out);
        break;
      }
      case Pooling::kLast:
        std::copy(x + (rows - 1) * c, x + rows * c, out);
        break;
    }
    out += c;
  }
}

void Sentence::run(const Step& step, int64_t rows, float** x, float** spare, ThreadPool& pool) {
  if (step.kind == SentenceModule::Kind::kLayerNorm) return step.norm.forward(kernels_, pool, rows, *x, *x);
  const int64_t n = step.width;
  if (step.kind == SentenceModule::Kind::kNormalize)
    return pool.parallel_for(rows,
                             [&](int64_t row, int) { kernels_.l2_normalize(*x + row * n, n, *x + row * n); });
  step.dense.forward(kernels_, pool, rows, *x, *spare);
  if (step.residual) step.residual->forward(kernels_, pool, rows, *x, rows_[2].data());
  const float* const added = step.residual ? rows_[2].data() : *x;
  pool.parallel_for(rows, [&](int64_t row, int) {
    float* const y = *spare + row * n;
    bend(step.curve, kernels_, y, n);
    for (int64_t i = 0; step.adds_input && i < n; ++i) y[i] += added[row * n + i];
  });
  std::swap(*x, *spare);
}

}  // namespace headrace
