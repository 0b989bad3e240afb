// The head of SigLIP's tower of pictures (Zhai et al. 2023, arXiv:2303.15343), which is that of Set
// Transformers (Lee et al. 2019, arXiv:1810.00825): one learned query over all hidden states of a picture.
//
//   a = attention(probe, states) Wo + bo;  vector = a + act(norm(a) W1 + b1) W2 + b2
#pragma once

#include <cstdint>
#include <span>

#include "models/encoder_config.h"
#include "models/layers.h"
#include "models/model.h"
#include "models/weights.h"

namespace headrace {

class AttentionPool {
 public:
  // In the reader's precision, f32. Throws what WeightReader throws.
  AttentionPool(const EncoderConfig& config, WeightReader& reader, const Kernels& kernels);

  // Room for batches of that many tokens, all sequences of config.positions; the only call that allocates.
  void reserve(int64_t max_batch_tokens, int threads);
  // states [T, C]; outputs[b] receives the C numbers of sequence b.
  void forward(const TokenBatch& batch, const float* states, std::span<float* const> outputs,
               ThreadPool& pool);

 private:
  void attend(const TokenBatch& batch, ThreadPool& pool);

  const Kernels& kernels_;
  int64_t hidden_, heads_, head_dim_, length_;
  Activation activation_;
  Buffer query_;      // [C]: the probe's, the same for all pictures
  Linear key_value_;  // [2C, C]
  Linear attended_;   // [C, C]
  LayerNorm norm_;
  Linear up_, down_;  // [F, C], [C, F]

  Buffer states_kv_;                        // [T, 2C]
  Buffer context_, sum_, normed_, result_;  // [B, C]
  Buffer inner_;                            // [B, F]
  Buffer scratch_;                          // per thread
  int64_t scratch_floats_ = 0;
};

}  // namespace headrace
