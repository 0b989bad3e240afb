// The weights of one layer of a language model (language_model.h).
#pragma once

#include <cstdint>

#include "models/layers.h"
#include "tensor/buffer.h"

namespace headrace {

struct DecoderNorm {
  Buffer gain;  // [C]; empty: there is no such norm
  Buffer bias;  // [C], where the mean is subtracted
};

struct DecoderLayer {
  DecoderNorm attention_norm;   // [C]
  Linear qkv;                   // [(H + 2 K) D, C]
  Buffer query_norm, key_norm;  // [D], where heads are normed
  Linear attended;              // [C, H D]
  DecoderNorm attended_norm;    // [C], where what a block gives is normed
  DecoderNorm mlp_norm;         // [C]
  Linear gate_up;               // [2 F, C]; [F, C] without gates
  Linear down;                  // [C, F]
  DecoderNorm down_norm;        // [C], as attended_norm
  int64_t window = 0;
};

}  // namespace headrace
