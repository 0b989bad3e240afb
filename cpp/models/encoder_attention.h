// Attention of an encoder's layers, with what it knows of positions: rotary angles, biases of distances,
// windows.
#pragma once

#include <cstdint>

#include "base/threads.h"
#include "models/disentangled.h"
#include "models/encoder_config.h"
#include "models/encoder_names.h"
#include "models/model.h"
#include "models/rotary.h"
#include "models/weights.h"
#include "tensor/buffer.h"

namespace headrace {

class EncoderAttention {
 public:
  // Throws what WeightReader throws.
  void load(const EncoderConfig& config, const EncoderNames& names, WeightReader& reader,
            const Kernels& kernels);

  // To go with matrices of this precision; f32 at first.
  void use(Precision precision);

  // Room for batches of that many tokens; the only call that allocates.
  void reserve(int64_t max_batch_tokens, int threads);

  // context [T, H D] of qkv [T, 3 H D], which it turns in place where positions are rotary.
  void run(int64_t layer, const TokenBatch& batch, ThreadPool& pool, float* qkv, float* context);

 private:
  void load_buckets(WeightReader& reader);
  void load_slopes();
  void load_causal();
  void turn(const RotaryTable& table, float* q, int64_t length) const;
  void attend_disentangled(int64_t layer, int64_t head, Attention attention, float* scratch) const;
  // Where the bias of a head's first query begins; null: there is none.
  const float* bias_of(int64_t head) const;

  const Kernels* kernels_ = nullptr;
  void (*attend_)(const Attention& attention) = nullptr;
  EncoderConfig config_;
  int64_t head_dim_ = 0;
  RotaryTable rotary_, local_rotary_;
  Buffer distance_bias_;  // [H or 1, 2 longest - 1], distances j - i from 1 - longest on
  Disentangled disentangled_;
  Buffer scratch_;  // per thread
  int64_t scratch_floats_ = 0, attention_floats_ = 0;
};

}  // namespace headrace
