#include "models/language_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "models/json_fields.h"
#include "models/settings_file.h"

namespace headrace {
namespace {

constexpr const char* kFamilies[] = {"llama", "mistral", "qwen2",       "qwen3",
                                     "phi3",  "gemma2",  "gemma3_text", "gpt2"};

std::vector<float> read_divisors(JsonValue object, const char* key) {
  std::vector<float> divisors;
  for (const JsonValue number : object.at(key).items()) {
    const double divisor = number.as_double();
    if (!(divisor >= 1e-3 && divisor <= 1e6)) number.fail("must be between 0.001 and 1000000");
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

// What the factor and the original length say, and the divisors for texts within that and beyond.
void read_longrope(JsonValue object, const RotaryDefaults& defaults, RotaryConfig& rotary) {
  rotary.divisors = read_divisors(object, "short_factor");
  rotary.long_divisors = read_divisors(object, "long_factor");
  if (rotary.divisors.size() != rotary.long_divisors.size())
    object.fail("short_factor and long_factor must have as many numbers");
  if (!given(object, "factor"))
    rotary.factor = static_cast<double>(defaults.longest) / rotary.original_positions;
}

}  // namespace

RotaryConfig read_rotary(JsonValue object, const RotaryDefaults& defaults, const std::string& path) {
  RotaryConfig rotary;
  rotary.theta = number_or(object, "rope_theta", 1.0, 1e12, defaults.theta);
  const auto type = given(object, "rope_type") ? given(object, "rope_type") : given(object, "type");
  if (type) rotary.type = type->as_string();
  if (rotary.type == "default") return rotary;
  if (rotary.type == "su") rotary.type = "longrope";  // its name at first
  const char* const known[] = {"linear", "llama3", "yarn", "longrope", "dynamic"};
  if (std::find(std::begin(known), std::end(known), rotary.type) == std::end(known))
    refuse(path, concat("rotary positions of type '", rotary.type, "'"),
           "default, linear, llama3, yarn, longrope and dynamic");
  rotary.factor = number_or(object, "factor", 1.0, 1e4, 1.0);
  rotary.low_frequency_factor = number_or(object, "low_freq_factor", 1e-3, 1e4, 1.0);
  rotary.high_frequency_factor = number_or(object, "high_freq_factor", 1e-3, 1e4, 4.0);
  rotary.beta_fast = number_or(object, "beta_fast", 1e-3, 1e6, 32.0);
  rotary.beta_slow = number_or(object, "beta_slow", 1e-3, 1e6, 1.0);
  rotary.attention_factor = number_or(object, "attention_factor", 1e-3, 1e3, 0.0);
  rotary.truncate = flag_or(object, "truncate", true);
  rotary.original_positions = number_or(object, "original_max_position_embeddings", 1, 1 << 30,
                                        static_cast<double>(defaults.original));
  if (rotary.type == "dynamic") rotary.original_positions = static_cast<double>(defaults.longest);
  if (rotary.type == "longrope") read_longrope(object, defaults, rotary);
  if (rotary.type == "llama3" && rotary.high_frequency_factor <= rotary.low_frequency_factor)
    object.fail("high_freq_factor must be above low_freq_factor");
  for (const char* key : {"mscale", "mscale_all_dim"})
    if (given(object, key)) refuse(path, concat("'", key, "' of rotary positions"), "yarn without it");
  return rotary;
}

namespace {

void read_rotaries(JsonValue root, const std::string& path, LanguageConfig& config) {
  const double theta = number_or(root, "rope_theta", 1.0, 1e12, 10000.0);
  const double local = number_or(root, "rope_local_base_freq", 1.0, 1e12, 10000.0);
  config.rotary.theta = theta;
  config.local_rotary.theta = config.family == "gemma3_text" ? local : theta;
  const RotaryDefaults defaults{
      theta, size_or(root, "original_max_position_embeddings", 1 << 24, config.positions), config.positions};
  RotaryDefaults local_defaults = defaults;
  local_defaults.theta = local;
  if (const auto parameters = given(root, "rope_parameters")) {
    const auto full = given(*parameters, "full_attention"), sliding = given(*parameters, "sliding_attention");
    config.rotary = read_rotary(full ? *full : *parameters, defaults, path);
    config.local_rotary =
        full ? (sliding ? read_rotary(*sliding, local_defaults, path) : config.local_rotary) : config.rotary;
  } else if (const auto scaling = given(root, "rope_scaling")) {
    config.rotary = read_rotary(*scaling, defaults, path);
    if (config.family != "gemma3_text") config.local_rotary = config.rotary;
  }
}

// Which layers look at a window only.
void read_windows(JsonValue root, LanguageConfig& config) {
  config.windows.assign(static_cast<size_t>(config.layers), 0);
  if (!flag_or(root, "use_sliding_window", config.family != "qwen2" && config.family != "qwen3")) return;
  const int64_t window = size_or(root, "sliding_window", 1 << 30, 0);
  if (window == 0) return;
  if (const auto types = given(root, "layer_types")) {
    if (static_cast<int64_t>(types->size()) != config.layers)
      types->fail(concat("layer_types has ", types->size(), " entries for ", config.layers, " layers"));
    size_t layer = 0;
    for (const JsonValue type : types->items()) {
      const std::string_view name = type.as_string();
      if (name != "full_attention" && name != "sliding_attention")
        type.fail(concat("'", name, "' among layer_types: known are full_attention and sliding_attention"));
      config.windows[layer++] = name == "sliding_attention" ? window : 0;
    }
    return;
  }
  // Files older than layer_types.
  const int64_t pattern = size_or(root, "sliding_window_pattern", 1 << 10, config.family == "gemma2" ? 2 : 6);
  const int64_t first = size_or(root, "max_window_layers", 1 << 10, 0);
  for (int64_t i = 0; i < config.layers; ++i) {
    bool is_local = true;
    if (config.family.starts_with("gemma")) is_local = (i + 1) % pattern != 0;
    if (config.family.starts_with("qwen")) is_local = i >= first;
    if (is_local) config.windows[static_cast<size_t>(i)] = window;
  }
}

void read_end_ids(JsonValue root, LanguageConfig& config) {
  const auto ids = given(root, "eos_token_id");
  if (!ids) return;
  const auto add = [&](JsonValue id) {
    config.end_ids.push_back(static_cast<int32_t>(id.as_int(0, config.vocabulary - 1)));
  };
  if (!ids->is_array()) return add(*ids);
  for (const JsonValue id : ids->items()) add(id);
}

void read_gemma(JsonValue root, LanguageConfig& config) {
  config.norm_offset = 1;
  config.embedding_scale = std::sqrt(static_cast<float>(config.hidden));
  config.has_post_norms = true;
  config.has_head_norms = config.family == "gemma3_text";
  const double scalar = number_or(root, "query_pre_attn_scalar", 1e-3, 1e6, 256.0);
  config.attention_scale = static_cast<float>(1.0 / std::sqrt(scalar));
  config.attention_cap = static_cast<float>(number_or(root, "attn_logit_softcapping", 0, 1e6, 0.0));
  config.logit_cap = static_cast<float>(number_or(root, "final_logit_softcapping", 0, 1e6, 0.0));
}

void read_activation(JsonValue root, const std::string& path, LanguageConfig& config) {
  auto activation = given(root, "hidden_activation");
  if (!activation) activation = given(root, "hidden_act");
  const std::string_view name = activation ? activation->as_string() : "silu";
  if (name == "gelu_pytorch_tanh" || name == "gelu_new")
    config.activation = Activation::kGeluTanh;
  else if (name != "silu" && name != "swish")
    refuse(path, concat("the activation '", name, "'"), "silu and gelu_pytorch_tanh");
}

// GPT-2 has names of its own for everything.
void read_gpt2(JsonValue root, const std::string& path, LanguageConfig& config) {
  config.hidden = root.at("n_embd").as_int(1, 1 << 16);
  config.layers = root.at("n_layer").as_int(1, 1 << 10);
  config.heads = config.kv_heads = root.at("n_head").as_int(1, 1 << 10);
  config.feed_forward = size_or(root, "n_inner", 1 << 18, 4 * config.hidden);
  config.vocabulary = root.at("vocab_size").as_int(1, 1 << 24);
  config.positions = size_or(root, "n_positions", 1 << 20, 1024);
  if (config.hidden % config.heads != 0)
    root.fail(concat("a width of ", config.hidden, " is no multiple of ", config.heads, " heads"));
  config.head_dim = config.hidden / config.heads;
  config.norm_eps = static_cast<float>(number_or(root, "layer_norm_epsilon", 1e-12, 1e-1, 1e-5));
  config.attention_scale = flag_or(root, "scale_attn_weights", true)
                               ? 1.0f / std::sqrt(static_cast<float>(config.head_dim))
                               : 1.0f;
  for (const char* key : {"scale_attn_by_inverse_layer_idx", "add_cross_attention"})
    if (flag_or(root, key, false)) refuse(path, concat("'", key, "'"), "GPT-2 without it");
  config.is_fused = true;
  config.is_tied = flag_or(root, "tie_word_embeddings", true);
  config.has_layer_norms = config.has_learned_positions = true;
  config.has_gates = false;
  const auto activation = given(root, "activation_function");
  const std::string_view name = activation ? activation->as_string() : "gelu_new";
  if (name == "gelu_new" || name == "gelu_pytorch_tanh")
    config.activation = Activation::kGeluTanh;
  else if (name == "gelu")
    config.activation = Activation::kGelu;
  else
    refuse(path, concat("the activation '", name, "'"), "gelu_new and gelu");
  config.windows.assign(static_cast<size_t>(config.layers), 0);
}

}  // namespace

std::vector<std::string> language_families() { return {std::begin(kFamilies), std::end(kFamilies)}; }

bool is_language_family(const std::string& family) {
  return std::find(std::begin(kFamilies), std::end(kFamilies), family) != std::end(kFamilies);
}

LanguageConfig read_language_config(const ModelPath& directory) {
  const ModelPath file = directory / "config.json";
  const std::string& path = file.name();
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, path);
  const JsonValue root = document.root();
  LanguageConfig config;
  config.family = root.at("model_type").as_string();
  if (!is_language_family(config.family)) {
    std::string known;
    for (const char* name : kFamilies) known += concat(known.empty() ? "" : ", ", name);
    refuse(path, concat("model_type '", config.family, "'"), known);
  }
  if (config.family == "gpt2") {
    read_gpt2(root, path, config);
    read_end_ids(root, config);
    return config;
  }
  config.hidden = root.at("hidden_size").as_int(1, 1 << 16);
  config.layers = root.at("num_hidden_layers").as_int(1, 1 << 10);
  config.heads = root.at("num_attention_heads").as_int(1, 1 << 10);
  config.kv_heads = size_or(root, "num_key_value_heads", 1 << 10, config.heads);
  config.feed_forward = root.at("intermediate_size").as_int(1, 1 << 18);
  config.vocabulary = root.at("vocab_size").as_int(1, 1 << 24);
  config.positions = size_or(root, "max_position_embeddings", 1 << 24, 2048);
  config.head_dim = size_or(root, "head_dim", 1 << 12, std::max<int64_t>(config.hidden / config.heads, 1));
  config.norm_eps = static_cast<float>(number_or(root, "rms_norm_eps", 1e-12, 1e-1, 1e-6));
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  config.has_head_norms = config.family == "qwen3";
  config.is_fused = config.family == "phi3";
  config.is_tied = flag_or(root, "tie_word_embeddings", config.family.starts_with("gemma"));
  if (config.heads % config.kv_heads != 0)
    root.fail(concat(config.heads, " query heads are no multiple of ", config.kv_heads, " key-value heads"));
  double part = number_or(root, "partial_rotary_factor", 1e-3, 1.0, 1.0);
  if (const auto parameters = given(root, "rope_parameters"))
    part = number_or(*parameters, "partial_rotary_factor", 1e-3, 1.0, part);
  config.rotated = static_cast<int64_t>(static_cast<double>(config.head_dim) * part) / 2 * 2;
  if (config.rotated == 0)
    root.fail(concat("a head of ", config.head_dim, " has nothing for positions to turn"));
  if (config.family.starts_with("gemma")) read_gemma(root, config);
  read_activation(root, path, config);
  read_rotaries(root, path, config);
  for (const RotaryConfig* rotary : {&config.rotary, &config.local_rotary})
    if (!rotary->divisors.empty() && std::ssize(rotary->divisors) != config.rotated / 2)
      root.fail(concat("short_factor and long_factor have ", rotary->divisors.size(), " numbers for the ",
                       config.rotated / 2, " pairs of a head that positions turn"));
  if (config.rotary.type == "dynamic")
    config.stretched = static_cast<int64_t>(config.rotary.factor * static_cast<double>(config.positions));
  read_windows(root, config);
  read_end_ids(root, config);
  return config;
}

}  // namespace headrace
