// What stands behind the encoder: hidden states -> the numbers of a task.
//
//   rows = the first token of each sequence or their mean (classify, rerank), every token (tag, answer) or
//   the picked ones
//          (fill_mask)
//   y = norm(act(rows Wd + bd)) Wo + bo          the dense layer and the norm where the architecture has them
//
// Every head of the BERT family is that, under other names. What comes out are logits; scores are the
// caller's to make, by HeadConfig::activation.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/head_config.h"
#include "models/layers.h"
#include "models/model.h"
#include "models/weights.h"

namespace headrace {

class Head {
 public:
  // What of the encoder a head builds on.
  struct Sizes {
    int64_t hidden = 0;      // C
    int64_t vocabulary = 0;  // V
    int64_t embedding = 0;   // width of the word embeddings; C but in ALBERT and ELECTRA
    float norm_eps = 0;
    bool norm_has_bias = true;
  };

  // reader: of the whole checkpoint, with no prefix. Throws what WeightReader throws, and kUnsupported where
  // the task is not known for this architecture.
  static std::unique_ptr<Head> load(const HeadConfig& config, const Sizes& sizes, WeightReader& reader,
                                    const Kernels& kernels);

  // Fills in rows, dimensions, labels, activation and task.
  void describe(ModelInfo& info) const;

  HiddenRows reads() const {
    if (rows_ != AnswerRows::kSequence) return HiddenRows::kAll;
    return config_.is_mean ? HiddenRows::kMean : HiddenRows::kFirst;
  }

  // Room for batches of that many tokens; the only call that allocates.
  void reserve(int64_t max_batch_tokens);

  // hidden [T, C]: the encoder's last states of `batch`. outputs: as Model::forward has them.
  void forward(const TokenBatch& batch, const float* hidden, std::span<float* const> outputs,
               ThreadPool& pool);

 private:
  enum class Curve : uint8_t { kNone, kGelu, kTanh, kRelu };

  explicit Head(const Kernels& kernels) : kernels_(kernels) {}
  void load_dense(const std::string& name, Curve curve, int64_t n, WeightReader& reader);
  void load_modernbert(WeightReader& reader);
  void load_first_token(WeightReader& reader);
  void load_vocabulary(WeightReader& reader);
  // The rows that the head is applied to, contiguous.
  const float* gather(const TokenBatch& batch, const float* hidden, int64_t rows);
  void bend(float* x, int64_t rows, ThreadPool& pool) const;
  void copy_out(const TokenBatch& batch, int64_t begin, int64_t end, std::span<float* const> outputs);

  const Kernels& kernels_;
  HeadConfig config_;
  Sizes sizes_;
  AnswerRows rows_ = AnswerRows::kSequence;
  std::optional<Linear> dense_;
  Curve curve_ = Curve::kNone;
  std::optional<LayerNorm> norm_;
  Linear out_;

  int64_t chunk_rows_ = 0;  // rows that go through the head at a time
  Buffer rows_in_;          // [T, C], where rows have to be gathered
  Buffer dense_out_;        // [chunk, dense]
  Buffer logits_;           // [chunk, N]
};

}  // namespace headrace
