// The layers of an encoder, whatever its rows are made of: tokens of texts or patches of pictures.
//
//   per layer:  attention of x Wqkv + b, and what encoder_layer.h says
//
// Every linear layer is one GEMM over all T rows of the batch; only attention looks at sequence borders.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/encoder_attention.h"
#include "models/encoder_config.h"
#include "models/encoder_layer.h"
#include "models/encoder_names.h"
#include "models/layers.h"
#include "models/model.h"
#include "models/weights.h"

namespace headrace {

class EncoderStack {
 public:
  explicit EncoderStack(const Kernels& kernels) : kernels_(kernels) {}

  // What attention has of its own; before the layers. Throws what WeightReader throws.
  void load_attention(const EncoderConfig& config, const EncoderNames& names, WeightReader& reader);
  // In the reader's precision. inputs: what is known of the layers' inputs, for each layer or for none; int8
  // weights are smoothed by them. Throws what WeightReader throws.
  void load_layers(const EncoderNames& names, WeightReader& reader,
                   const std::vector<LayerInputs>& inputs = {});

  void reserve(int64_t max_batch_tokens, int threads);
  // [T, C]: what the layers begin with, to be filled before run(), which leaves the last hidden states there.
  float* x() { return x_.data(); }
  void run(const TokenBatch& batch, ThreadPool& pool);
  // How large the inputs of f32 layers are for what is in x(); leaves reserve() to be called.
  std::vector<LayerInputs> observe(const TokenBatch& batch, ThreadPool& pool);

  const EncoderConfig& config() const { return config_; }
  // For a device to take: then run() is not called any more.
  std::vector<EncoderLayer>& layers() { return layers_; }
  const LayerNorm* first_norm() const { return first_norm_ ? &*first_norm_ : nullptr; }
  // What the layers take beyond one float for each parameter, or less.
  int64_t packed_bytes() const;

 private:
  const EncoderLayer& layer(int64_t index) const {
    return layers_[static_cast<size_t>(index * config_.layer_groups / config_.layers)];
  }
  // The first layer's input: x, or in `context_` what its norm makes of it.
  const float* first_input(int64_t tokens, ThreadPool& pool);

  const Kernels& kernels_;
  EncoderConfig config_;
  std::optional<LayerNorm> first_norm_;
  std::vector<EncoderLayer> layers_;  // those that have weights of their own
  EncoderAttention attention_;

  // Activations of one forward, for max_batch_tokens tokens.
  Buffer x_;        // [T, C]
  Buffer qkv_;      // [T, 3 H D]
  Buffer context_;  // [T, H D], or C if that is more
  EncoderRows rows_;
};

}  // namespace headrace
