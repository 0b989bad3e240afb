// Low-rank adapters of a language model (Hu et al. 2021, arXiv:2106.09685), as the library `peft` saves them:
//
//   y = x W^T + scale (x A^T) B^T        A [r, K], B [N, r], scale alpha / r, or alpha / sqrt(r)
//
// or, with a magnitude m [N] of each row (DoRA, Liu et al. 2024, arXiv:2402.09353),
//
//   y = m / |W + scale B A| (x W^T + scale (x A^T) B^T)
//
// A directory has adapter_config.json and adapter_model.safetensors. Everything that a file asks for and that
// is not kept to (other kinds of adapters, trained embeddings or heads, ranks by layer) is refused.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/language_config.h"
#include "models/layers.h"
#include "tensor/tensor_source.h"

namespace headrace {

// Of one linear layer, or of several that run as one: `down` then has the ranks of all, `up` what each adds
// to its own columns. Empty (down.n == 0): it adds nothing.
struct LowRank {
  Linear down;  // [R, K]
  Linear up;    // [N, R], scaled
  // [N]; empty: zeros. The layer's product without its bias is taken so many times more: m / |W + scale B A|
  // - 1.
  Buffer stretch;
};

struct AdapterLayer {
  LowRank qkv, attended, gate_up, down;
};

struct Adapter {
  // All ranks of one layer's LowRank together.
  static constexpr int64_t kMaxRanks = 1024;

  std::vector<AdapterLayer> layers;
  int64_t parameters = 0;

  // weights: the model's, under the names that it reads them by. Throws kNotFound, kCorruptFile, and
  // kUnsupported for what is not kept to; kInvalidArgument for an adapter of a model with other layers.
  static std::unique_ptr<Adapter> load(const std::string& directory, const LanguageConfig& config,
                                       const TensorSource& weights, const Kernels& kernels);
};

}  // namespace headrace
