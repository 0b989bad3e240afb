// config.json of a language model, reduced to the fields in use, every number checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/model_path.h"
#include "kernels/kernels.h"

namespace headrace {

// How the positions of one kind of layer turn queries and keys. What stretches them beyond the length that a
// model was trained on: linear (Chen et al. 2023, arXiv:2306.15595), yarn (Peng et al. 2023,
// arXiv:2309.00071), llama3 (Llama Team 2024, arXiv:2407.21783), longrope (Ding et al. 2024,
// arXiv:2402.13753), dynamic (bloc97 and emozilla 2023, "Dynamically scaled RoPE").
struct RotaryConfig {
  std::string type = "default";  // or "linear", "yarn", "llama3", "longrope", "dynamic"
  double theta = 10000.0;
  double factor = 1.0;
  double low_frequency_factor = 1.0, high_frequency_factor = 4.0;  // llama3
  double beta_fast = 32.0, beta_slow = 1.0;                        // yarn
  double attention_factor = 0.0;                                   // yarn, longrope; 0: as the paper has it
  double original_positions = 0.0;                                 // llama3, yarn, longrope, dynamic
  bool truncate = true;                                            // yarn
  std::vector<float> divisors;       // of the frequencies, where the file has them one by one
  std::vector<float> long_divisors;  // longrope: the same where texts may be longer than original_positions
};

struct LanguageConfig {
  std::string family;  // model_type, one of language_families()
  int64_t hidden = 0;  // C
  int64_t layers = 0;
  int64_t heads = 0;         // H
  int64_t kv_heads = 0;      // K, a divisor of H
  int64_t head_dim = 0;      // D
  int64_t rotated = 0;       // how much of D positions turn, even
  int64_t feed_forward = 0;  // F
  int64_t vocabulary = 0;    // V
  int64_t positions = 0;     // the longest sequence
  int64_t stretched = 0;     // the longest if asked for, where positions are dynamic; else 0
  float norm_eps = 0;
  float norm_offset = 0;  // what is added to every norm's gain: 1 in Gemma
  float embedding_scale = 1;
  float attention_scale = 0;
  float attention_cap = 0;      // PagedAttention::soft_cap
  float logit_cap = 0;          // logits are cap tanh(logits / cap); 0: as they are
  bool has_head_norms = false;  // queries and keys are normed, head by head
  bool has_post_norms = false;  // what a block gives is normed before it is added
  bool is_fused = false;        // query, key and value are one matrix in the file, and so are gate and up
  bool is_tied = false;         // the last layer's weights are the embeddings
  // GPT-2 (Radford et al. 2019): norms subtract the mean and add a bias, positions are learned and added to
  // the embeddings, the feed-forward layer has no gate. Then `rotated` is 0.
  bool has_layer_norms = false, has_learned_positions = false, has_gates = true;
  Activation activation = Activation::kSilu;
  RotaryConfig rotary;           // of layers that look at everything
  RotaryConfig local_rotary;     // of layers with a window
  std::string chat_template;     // of a GGUF; Jinja
  int32_t begin_id = -1;         // of a GGUF: the token that begins every text
  std::vector<int64_t> windows;  // by layer; 0: none
  std::vector<int32_t> end_ids;  // what ends a text: eos_token_id
};

// Every model_type that is known.
std::vector<std::string> language_families();
bool is_language_family(const std::string& family);

// One set of rotary parameters, as transformers 5 (rope_parameters) or earlier (rope_scaling) writes it.
// original: what holds where the object says nothing. longest: the longest sequence.
struct RotaryDefaults {
  double theta;
  int64_t original, longest;
};
RotaryConfig read_rotary(JsonValue object, const RotaryDefaults& defaults, const std::string& path);

// Throws kNotFound, kCorruptFile and kUnsupported as read_encoder_config() does.
LanguageConfig read_language_config(const ModelPath& directory);

}  // namespace headrace
