// config.json of a BERT encoder or one of its kin, reduced to the fields in use, every number checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/model_path.h"
#include "kernels/kernels.h"
#include "models/language_config.h"

namespace headrace {

// What attention itself knows of positions, beside the embeddings or in place of them.
enum class AttentionPositions : uint8_t {
  kNone,
  kRotary,        // queries and keys are turned (Su et al. 2021, arXiv:2104.09864)
  kBuckets,       // a learned number for each head and distance (Raffel et al. 2020, arXiv:1910.10683)
  kSlopes,        // minus a slope for each head times the distance (Press et al. 2022, arXiv:2108.12409)
  kCausal,        // nothing, but tokens see those before them alone
  kDisentangled,  // distances have keys and queries of their own (He et al. 2021, arXiv:2006.03654)
};

// Of kDisentangled.
struct DisentangledConfig {
  int64_t span = 0;          // rows of the distances' embeddings to either side
  int64_t buckets = 0;       // far distances share one of so many; 0: none do
  int64_t farthest = 0;      // distance
  bool shares_keys = false;  // distances go through the layer's own query and key matrices
  bool has_keys = false;     // the term of a query and a distance: c2p
  bool has_queries = false;  // the term of a key and a distance: p2c
  bool has_norm = false;     // of the distances' embeddings
};

struct EncoderConfig {
  std::string family;  // model_type, one of encoder_families()
  int64_t hidden = 0;  // C
  int64_t layers = 0;
  int64_t layer_groups = 0;  // layers that have weights of their own; as many as there are, but in ALBERT
  int64_t heads = 0;         // H
  int64_t head_dim = 0;      // D; C / H unless config.json has head_dim, as where heads were pruned
  int64_t feed_forward = 0;  // F
  int64_t vocabulary = 0;    // V
  int64_t positions = 0;     // rows of the position embeddings, or the longest sequence where there are none
  bool has_position_embeddings = true;
  int64_t first_position =
      0;                  // the row of a sequence's first token: RoBERTa's come behind that of its padding
  int64_t types = 0;      // 0: there are no type embeddings
  int64_t embedding = 0;  // width of the embeddings; where it is not C, a linear layer follows them
  float norm_eps = 0;
  bool norm_has_bias = true;
  bool is_pre_norm = false;  // a block's input is normed, not what it adds up to
  bool norms_first = false;  // of these: that of the first block too
  bool is_gated = false;     // up gives twice as many numbers, one half gates the other
  Activation activation = Activation::kGelu;
  std::vector<int64_t> windows;  // by layer, tokens to either side; 0: none
  AttentionPositions attention_positions = AttentionPositions::kNone;
  RotaryConfig rotary, local_rotary;  // of layers that look at everything and of those with a window
  int64_t buckets = 0;                // of kBuckets
  DisentangledConfig disentangled;

  // H D, what attention gives for a token; C where no heads were pruned.
  int64_t attention_width() const { return heads * head_dim; }
  // The longest sequence.
  int64_t longest() const { return positions - first_position; }
};

// Throws kNotFound (no such directory or file), kCorruptFile (malformed or absurd) or kUnsupported
// (well-formed, but another architecture or activation; the message names it).
EncoderConfig read_encoder_config(const ModelPath& directory);

// The function that a field of config.json names; `fallback` where it is not there. Throws kUnsupported.
Activation read_activation(JsonValue root, const char* key, std::string_view fallback,
                           const std::string& path);

}  // namespace headrace
