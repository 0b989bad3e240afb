// Low-rank adapters of a language model (Hu et al. 2021, arXiv:2106.09685), as the library `peft` saves them:
//
//   y = x W^T + scale (x A^T) B^T        A [r, K], B [N, r], scale alpha / r, or alpha / sqrt(r)
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

namespace headrace {

// Of one linear layer, or of several that run as one: `down` then has the ranks of all, `up` what each adds
// to its own columns. Empty (down.n == 0): it adds nothing.
struct LowRank {
  Linear down;  // [R, K]
  Linear up;    // [N, R], scaled
};

struct AdapterLayer {
  LowRank qkv, attended, gate_up, down;
};

struct Adapter {
  // All ranks of one layer's LowRank together.
  static constexpr int64_t kMaxRanks = 1024;

  std::vector<AdapterLayer> layers;
  int64_t parameters = 0;

  // Throws kNotFound, kCorruptFile, and kUnsupported for what is not kept to; kInvalidArgument for an adapter
  // of a model with other layers.
  static std::unique_ptr<Adapter> load(const std::string& directory, const LanguageConfig& config,
                                       const Kernels& kernels);
};

}  // namespace headrace
