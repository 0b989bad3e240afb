// BERT (Devlin et al. 2018, arXiv:1810.04805) and its kin: ids -> one vector a sequence, as
// sentence-transformers makes it, or what a task's head makes of the last hidden states.
//
//   x = norm(word[id] + position[i] + type[segment]), and the layers of encoder_stack.h
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/device_encoder.h"
#include "models/encoder_config.h"
#include "models/encoder_stack.h"
#include "models/head.h"
#include "models/layers.h"
#include "models/model.h"
#include "models/sentence.h"

namespace headrace {

class Encoder final : public Model {
 public:
  // Reads config.json, modules.json and the weights (checkpoint.h) of `directory`, and packs them for
  // `kernels`, or for the device that the options name, which then has all but the head. Throws what
  // config.h, head.h, safetensors.h and weights.h say.
  static std::unique_ptr<Encoder> load(const ModelPath& directory, const Kernels& kernels,
                                       const LoadOptions& options = {});

  const ModelInfo& info() const override { return info_; }
  void reserve(int64_t max_batch_tokens, int threads) override;
  void forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) override;

 private:
  explicit Encoder(const Kernels& kernels) : kernels_(kernels), stack_(kernels) {}
  // How large the layers' inputs are, by which int8 weights are smoothed; leaves reserve() to be called.
  std::vector<LayerInputs> observe_inputs();
  void load_embeddings(const EncoderNames& names, WeightReader& reader);
  void embed(const TokenBatch& batch, ThreadPool& pool);
  void move_to(std::unique_ptr<cuda::DeviceTable> device);
  void forward_on_device(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool);

  const Kernels& kernels_;
  EncoderConfig config_;
  ModelInfo info_;

  Buffer word_;      // [V, E], E being C but in ELECTRA
  Buffer position_;  // [positions, E], or one row of zeros
  Buffer type_;      // [types, E], or one row of zeros
  LayerNorm embedding_norm_;
  std::optional<Linear> projection_;  // [C, E]
  EncoderStack stack_;
  std::unique_ptr<Head> head_;  // one of these two, by the task
  std::unique_ptr<Sentence> sentence_;

  Buffer embedded_;  // [T, E], with projection_, for max_batch_tokens tokens

  std::unique_ptr<DeviceEncoder> device_;  // null: the processor; else all up to head_ and sentence_ is there
  std::vector<int32_t> ones_;              // cumulative lengths of sequences of one token
};

}  // namespace headrace
