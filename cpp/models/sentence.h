// From the hidden states of a sequence to its one vector, as sentence-transformers goes:
//
//   v = pooled hidden states, several ways of pooling end to end
//   then in any order and number:
//     Dense      v = act(v W^T + b)  (+ v, or + v R^T where the widths differ)
//     LayerNorm  v = norm(v)
//     Normalize  v = v / |v|
//
// What is behind the pooling runs in f32 whatever the encoder's precision: it has one row a sequence, where
// the encoder has one a token.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/layers.h"
#include "models/model.h"
#include "models/sentence_config.h"

namespace headrace {

class Sentence {
 public:
  // hidden: C of the encoder. Throws what read_sentence_config, Checkpoint and WeightReader throw, and
  // kCorruptFile where the widths of two neighbours differ.
  static std::unique_ptr<Sentence> load(const ModelPath& directory, int64_t hidden, const Kernels& kernels);

  // Fills in dimensions and what the files say of prompts and of comparing; adds to parameters.
  void describe(ModelInfo& info) const;

  HiddenRows reads(const TokenBatch& batch) const;

  // Room for batches of that many tokens; the only call that allocates.
  void reserve(int64_t max_batch_tokens);

  // hidden [T, C]: the encoder's last states of `batch`; outputs[b] receives info().dimensions numbers.
  void forward(const TokenBatch& batch, const float* hidden, std::span<float* const> outputs,
               ThreadPool& pool);

 private:
  struct Step {
    SentenceModule::Kind kind;
    int64_t width = 0;  // of what it gives
    Curve curve = Curve::kIdentity;
    bool adds_input = false;
    Linear dense;
    std::optional<Linear> residual;
    LayerNorm norm;
  };

  explicit Sentence(const Kernels& kernels) : kernels_(kernels) {}
  // All ways of pooling of one sequence, end to end.
  void pool_sequence(const TokenBatch& batch, int64_t sequence, const float* hidden, float* out) const;
  // rows vectors at *x through the step; swaps *x and *spare where the result is in the latter.
  void run(const Step& step, int64_t rows, float** x, float** spare, ThreadPool& pool);

  const Kernels& kernels_;
  SentenceConfig config_;
  int64_t hidden_ = 0;
  int64_t width_ = 0;   // of the result
  int64_t widest_ = 0;  // of what comes between
  int64_t parameters_ = 0;
  std::vector<Step> steps_;
  bool only_normalizes_ = true;  // no step needs another place than the result's own

  int64_t chunk_rows_ = 0;  // sequences that go through the steps at a time
  Buffer rows_[3];          // [chunk, widest]
};

}  // namespace headrace
