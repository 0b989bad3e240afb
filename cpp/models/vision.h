// A Vision Transformer (Dosovitskiy et al. 2021, arXiv:2010.11929), also as the tower of CLIP (Radford et al.
// 2021, arXiv:2103.00020) or SigLIP: patches of a picture -> its vector, or its labels.
//
//   x = [class token; patches Wp + b] + positions, normed where it is CLIP's, then the layers of
//   encoder_stack.h the class token's last hidden state, normed, is the picture's; of CLIP's it goes through
//   one more matrix; SigLIP has no class token, and attention_pool.h or the mean of all
#pragma once

#include <memory>
#include <optional>

#include "models/attention_pool.h"
#include "models/encoder_stack.h"
#include "models/head.h"
#include "models/model.h"
#include "models/pooled.h"
#include "models/vision_config.h"
#include "tensor/checkpoint.h"

namespace headrace {

class Vision final : public Model {
 public:
  // family: tower_family(directory). Throws what vision_config.h, head.h and weights.h say.
  static std::unique_ptr<Vision> load(const ModelPath& directory, const std::string& family,
                                      const Kernels& kernels, const LoadOptions& options);

  const ModelInfo& info() const override { return info_; }
  const PictureTransform* pictures() const override { return &transform_; }
  void reserve(int64_t max_batch_tokens, int threads) override;
  void forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) override;

 private:
  Vision(const Kernels& kernels, const PictureTransform& transform)
      : kernels_(kernels), transform_(transform), stack_(kernels) {}
  void load_embeddings(WeightReader& reader);
  void describe(const HeadConfig& head);
  std::vector<LayerInputs> observe_inputs();
  void embed(const TokenBatch& batch, ThreadPool& pool);

  const Kernels& kernels_;
  PictureTransform transform_;
  VisionConfig config_;
  ModelInfo info_;

  Linear patches_;   // [C, 3 side side], in f32
  Buffer first_;     // [C]: the class token, its position added, where there is one
  Buffer position_;  // [patches, C]: those of the patches
  std::optional<LayerNorm> embedding_norm_;
  EncoderStack stack_;
  std::unique_ptr<Head> head_;  // one of these three, by the task and the family
  std::optional<Pooled> pooled_;
  std::optional<AttentionPool> attention_pool_;
};

}  // namespace headrace
