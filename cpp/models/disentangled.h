// What DeBERTa adds to attention's scores (He et al. 2021, arXiv:2006.03654): distances are embedded, and a
// query meets the key of a distance, a key its query. For one head, with s the scale and b(i - j) the bucket
// of a distance:
//
//   bias[i,j] = s (q[i].kr[b(i - j)] + k[j].qr[b(i - j)])
//
// The products with every distance are two small GEMMs, from which the biases of some queries at a time are
// gathered: memory grows with L, not with its square.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/encoder_config.h"
#include "models/encoder_names.h"
#include "models/weights.h"
#include "tensor/buffer.h"

namespace headrace {

class Disentangled {
 public:
  // Queries whose biases are made at a time.
  static constexpr int64_t kRows = 64;

  // The distances' keys and queries of every layer. Throws what WeightReader throws.
  void load(const EncoderConfig& config, const EncoderNames& names, WeightReader& reader,
            const Kernels& kernels);

  // 1 / sqrt(D terms), of this and of attention's own scores.
  float scale() const { return scale_; }
  int64_t scratch(int64_t length) const;

  // The queries of one head of one sequence and its keys; scratch: as many floats as scratch(length). Fills
  // in products that rows() reads.
  struct Head {
    const float* q;
    const float* k;
    int64_t ld;
    int64_t length;
    float* scratch;
  };
  void multiply(int64_t layer, int64_t head, const Head& of) const;
  // bias [rows, L] of queries [begin, begin + rows), rows <= kRows, in the scratch.
  const float* rows(const Head& of, int64_t begin, int64_t rows) const;

 private:
  // Keys or queries of the distances, [2 span, D] for each head of each layer, packed.
  using Packed = std::vector<Buffer>;
  Packed pack(const Buffer& plain) const;  // [2 span, C]
  int64_t bucket(int64_t distance) const;
  // The buckets that sequences of a length reach, as columns of whole panels.
  struct Columns {
    int64_t begin, end;
    int64_t count() const { return end - begin; }
  };
  Columns columns(int64_t length) const;

  const Kernels* kernels_ = nullptr;
  DisentangledConfig config_;
  int64_t head_dim_ = 0, heads_ = 0, longest_ = 0;
  float scale_ = 0;
  std::vector<int32_t> buckets_;        // of distances from 1 - longest_ to longest_ - 1
  std::vector<Packed> keys_, queries_;  // by layer
};

}  // namespace headrace
