// The text tower of CLIP (Radford et al. 2021, arXiv:2103.00020) or of SigLIP (Zhai et al. 2023,
// arXiv:2303.15343): ids -> a vector in the space of its pictures.
//
//   x = word[id] + position[i], then the layers of encoder_stack.h, in which a token sees those before it, of
//   SigLIP all
//   the hidden state of the text's end, of SigLIP the last, normed, times one more matrix
#pragma once

#include <memory>
#include <optional>

#include "models/encoder_stack.h"
#include "models/model.h"
#include "models/pooled.h"
#include "models/vision_config.h"

namespace headrace {

class TextTower final : public Model {
 public:
  // family: tower_family(directory). Throws what vision_config.h and weights.h say.
  static std::unique_ptr<TextTower> load(const ModelPath& directory, const std::string& family,
                                         const Kernels& kernels, const LoadOptions& options);

  const ModelInfo& info() const override { return info_; }
  void reserve(int64_t max_batch_tokens, int threads) override;
  void forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) override;

 private:
  explicit TextTower(const Kernels& kernels) : kernels_(kernels), stack_(kernels) {}
  std::vector<LayerInputs> observe_inputs();
  void embed(const TokenBatch& batch, ThreadPool& pool);
  int64_t end_of(const TokenBatch& batch, int64_t sequence) const;

  const Kernels& kernels_;
  TextTowerConfig config_;
  ModelInfo info_;
  Buffer word_;      // [V, C]
  Buffer position_;  // [positions, C]
  Buffer nothing_;   // [C], zeros
  EncoderStack stack_;
  std::optional<Pooled> pooled_;
};

}  // namespace headrace
