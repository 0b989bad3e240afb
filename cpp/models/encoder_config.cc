#include "models/encoder_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "models/encoder_names.h"
#include "models/json_fields.h"
#include "models/settings_file.h"

namespace headrace {
namespace {

// A size in the file; the limits are far above any real model and far below what would overflow a product of
// three.
int64_t size_field(JsonValue object, const char* key, int64_t high) {
  try {
    return object.at(key).as_int(1, high);
  } catch (const Error& error) {
    throw Error(error.kind(), concat(error.message(), " (key '", key, "')"));
  }
}

void require(JsonValue object, const char* key, std::string_view supported, const std::string& path) {
  const auto value = given(object, key);
  if (!value) return;
  if (value->as_string() != supported)
    throw Error(ErrorKind::kUnsupported,
                concat(path, ": ", key, " '", value->as_string(), "': supported is '", supported, "'"));
}

void require_flag(JsonValue object, const char* key, bool supported, const std::string& path) {
  if (flag_or(object, key, supported) != supported)
    throw Error(ErrorKind::kUnsupported, concat(path, ": ", key, " is ", supported ? "false" : "true",
                                                ": supported is ", supported ? "true" : "false"));
}

// The sizes under the names that most have.
void read_sizes(JsonValue root, EncoderConfig& config) {
  config.hidden = size_field(root, "hidden_size", 1 << 16);
  config.layers = size_field(root, "num_hidden_layers", 1 << 10);
  config.heads = size_field(root, "num_attention_heads", 1 << 10);
  config.feed_forward = size_field(root, "intermediate_size", 1 << 18);
  config.positions = size_field(root, "max_position_embeddings", 1 << 20);
}

// The number of token types, which may be 0.
int64_t read_types(JsonValue root, int64_t fallback) {
  const auto types = given(root, "type_vocab_size");
  return types ? types->as_int(0, 1 << 10) : fallback;
}

// Encoders read whole texts: there is no longest one that all others could go by.
RotaryConfig read_fixed_rotary(JsonValue object, double theta, const std::string& path,
                               const EncoderConfig& config) {
  RotaryConfig rotary = read_rotary(object, {theta, config.positions, config.positions}, path);
  if (rotary.type == "longrope" || rotary.type == "dynamic")
    refuse(path, concat("rotary positions of type '", rotary.type, "'"),
           "default, linear, llama3 and yarn in encoders");
  return rotary;
}

void use_rotary(JsonValue root, double theta, const std::string& path, EncoderConfig& config) {
  config.has_position_embeddings = false;
  config.attention_positions = AttentionPositions::kRotary;
  theta = number_or(root, "rope_theta", 1.0, 1e12, theta);
  const auto parameters = given(root, "rope_parameters");
  config.rotary.theta = theta;
  if (parameters) config.rotary = read_fixed_rotary(*parameters, theta, path, config);
}

// jina-embeddings-v2 calls itself bert (Guenther et al. 2023, arXiv:2310.19923).
void read_bert(JsonValue root, const std::string& path, EncoderConfig& config) {
  const auto positions = given(root, "position_embedding_type");
  if (config.family == "bert" && positions && positions->as_string() == "alibi") {
    require(root, "feed_forward_type", "geglu", path);
    config.has_position_embeddings = false;
    config.attention_positions = AttentionPositions::kSlopes;
    config.is_gated = true;
  } else {
    require(root, "position_embedding_type", "absolute", path);
  }
  if (config.family == "electra") config.embedding = size_or(root, "embedding_size", 1 << 16, 128);
}

void read_albert(JsonValue root, const std::string& path, EncoderConfig& config) {
  config.activation = read_activation(root, "hidden_act", "gelu_new", path);
  config.embedding = size_or(root, "embedding_size", 1 << 16, 128);
  config.layer_groups = size_or(root, "num_hidden_groups", config.layers, 1);
  if (size_or(root, "inner_group_num", 1 << 10, 1) != 1)
    refuse(path, "an inner_group_num above 1", "groups of one layer");
}

void read_mpnet(JsonValue root, const std::string&, EncoderConfig& config) {
  config.types = 0;
  config.attention_positions = AttentionPositions::kBuckets;
  config.buckets = size_or(root, "relative_attention_num_buckets", 1 << 10, 32);
}

void read_modernbert(JsonValue root, const std::string& path, EncoderConfig& config) {
  config.activation = read_activation(root, "hidden_activation", "gelu", path);
  config.types = 0;
  config.is_pre_norm = config.is_gated = true;
  config.norm_has_bias = flag_or(root, "norm_bias", false);
  config.norm_eps = static_cast<float>(number_or(root, "norm_eps", 1e-12, 0.5, 1e-5));
  config.has_position_embeddings = false;
  config.attention_positions = AttentionPositions::kRotary;
  config.rotary.theta = number_or(root, "global_rope_theta", 1.0, 1e12, 160000.0);
  config.local_rotary.theta = number_or(root, "local_rope_theta", 1.0, 1e12, 10000.0);
  if (const auto parameters = given(root, "rope_parameters")) {
    if (const auto full = given(*parameters, "full_attention"))
      config.rotary = read_fixed_rotary(*full, config.rotary.theta, path, config);
    if (const auto sliding = given(*parameters, "sliding_attention"))
      config.local_rotary = read_fixed_rotary(*sliding, config.local_rotary.theta, path, config);
  }
  const int64_t window = size_or(root, "local_attention", 1 << 20, 128) / 2;
  const int64_t every = size_or(root, "global_attn_every_n_layers", 1 << 10, 3);
  const auto types = given(root, "layer_types");
  if (types && static_cast<int64_t>(types->size()) != config.layers)
    types->fail(concat("layer_types has ", types->size(), " entries for ", config.layers, " layers"));
  config.windows.resize(static_cast<size_t>(config.layers));
  for (int64_t i = 0; i < config.layers; ++i)
    config.windows[static_cast<size_t>(i)] = i % every != 0 ? std::max<int64_t>(window, 1) : 0;
  if (!types) return;
  size_t layer = 0;
  for (const JsonValue type : types->items())
    config.windows[layer++] = type.as_string() == "sliding_attention" ? std::max<int64_t>(window, 1) : 0;
}

// transformers has its own names since version 5; the published files have those of the code they came with.
void read_nomic(JsonValue root, const std::string& path, EncoderConfig& config) {
  config.is_gated = true;
  if (!given(root, "n_embd")) {
    read_sizes(root, config);
    config.activation = read_activation(root, "hidden_act", "silu", path);
    return use_rotary(root, 1000.0, path, config);
  }
  config.hidden = size_field(root, "n_embd", 1 << 16);
  config.layers = size_field(root, "n_layer", 1 << 10);
  config.heads = size_field(root, "n_head", 1 << 10);
  config.feed_forward = size_or(root, "n_inner", 1 << 18, 4 * config.hidden);
  config.positions =
      size_or(root, "max_trained_positions", 1 << 20, size_field(root, "n_positions", 1 << 20));
  config.norm_eps = static_cast<float>(number_or(root, "layer_norm_epsilon", 1e-14, 0.5, 1e-12));
  require(root, "activation_function", "swiglu", path);
  config.activation = Activation::kSilu;
  require_flag(root, "prenorm", false, path);
  require_flag(root, "rotary_emb_interleaved", false, path);
  if (number_or(root, "rotary_emb_fraction", 0, 1, 1) != 1)
    refuse(path, "a rotary_emb_fraction below 1", "heads that are turned as a whole");
  use_rotary(root, number_or(root, "rotary_emb_base", 1.0, 1e12, 10000.0), path, config);
}

void read_gte(JsonValue root, const std::string& path, EncoderConfig& config) {
  config.is_gated = true;
  config.types = read_types(root, 1);
  use_rotary(root, 160000.0, path, config);
  if (config.family == "gte") return;
  require(root, "position_embedding_type", "rope", path);
  require(root, "layer_norm_type", "layer_norm", path);
  require_flag(root, "pack_qkv", true, path);
  require_flag(root, "logn_attention_scale", false, path);
  // The published code stretches every angle once the table is made for more positions than were trained, and
  // it always is: theta grows by the factor, and the frequencies fall by factor^(2 / D) besides.
  if (const auto scaling = given(root, "rope_scaling")) {
    require(*scaling, "type", "ntk", path);
    if (given(*scaling, "mixed_b")) refuse(path, "'mixed_b' of rope_scaling", "ntk without it");
    const double factor = number_or(*scaling, "factor", 1.0, 1e4, 1.0);
    const int64_t head = config.hidden / config.heads;
    config.rotary.theta *= factor;
    config.rotary.divisors.assign(
        static_cast<size_t>(head / 2),
        static_cast<float>(std::pow(factor, 2.0 / static_cast<double>(std::max<int64_t>(head, 1)))));
  }
}

void read_deberta(JsonValue root, const std::string& path, EncoderConfig& config) {
  config.types = read_types(root, 0);
  config.has_position_embeddings = flag_or(root, "position_biased_input", true);
  if (size_or(root, "embedding_size", 1 << 16, config.hidden) != config.hidden)
    refuse(path, "an embedding_size that is not hidden_size", "those with equal sizes");
  if (const auto kernel = given(root, "conv_kernel_size"); kernel && kernel->as_int(0, 1 << 10) > 0)
    refuse(path, "a convolution (conv_kernel_size)", "those without");
  if (!flag_or(root, "relative_attention", false)) return;
  config.attention_positions = AttentionPositions::kDisentangled;
  DisentangledConfig& relative = config.disentangled;
  const auto farthest = given(root, "max_relative_positions"), buckets = given(root, "position_buckets");
  relative.farthest = farthest ? farthest->as_int(-1, 1 << 20) : -1;
  if (relative.farthest < 1) relative.farthest = config.positions;
  relative.buckets = buckets ? std::max<int64_t>(buckets->as_int(-1, 1 << 16), 0) : 0;
  relative.span = relative.buckets > 0 ? relative.buckets : relative.farthest;
  relative.shares_keys = flag_or(root, "share_att_key", false);
  const auto add_term = [&](std::string_view name) {
    relative.has_keys |= name.find("c2p") != std::string_view::npos;
    relative.has_queries |= name.find("p2c") != std::string_view::npos;
  };
  if (const auto terms = given(root, "pos_att_type")) {
    if (terms->is_string()) add_term(terms->as_string());
    if (terms->is_array())
      for (const JsonValue term : terms->items()) add_term(term.as_string());
  }
  const auto norm = given(root, "norm_rel_ebd");
  relative.has_norm = norm && norm->as_string().find("layer_norm") != std::string_view::npos;
}

using Read = void (*)(JsonValue, const std::string&, EncoderConfig&);

Read reader_of(std::string_view family) {
  if (family == "albert") return read_albert;
  if (family == "mpnet") return read_mpnet;
  if (family == "modernbert") return read_modernbert;
  if (family == "gte" || family == "new") return read_gte;
  if (family == "deberta-v2") return read_deberta;
  if (family == "jina_embeddings_v3")
    return [](JsonValue root, const std::string& path, EncoderConfig& config) {
      use_rotary(root, 20000.0, path, config);
    };
  return read_bert;
}

void read_family(JsonValue root, const std::string& path, EncoderConfig& config) {
  if (config.family == "distilbert") {
    config.activation = read_activation(root, "activation", "gelu", path);
    config.hidden = size_field(root, "dim", 1 << 16);
    config.layers = size_field(root, "n_layers", 1 << 10);
    config.heads = size_field(root, "n_heads", 1 << 10);
    config.feed_forward = size_field(root, "hidden_dim", 1 << 18);
    config.positions = size_field(root, "max_position_embeddings", 1 << 20);
    return;
  }
  config.types = read_types(root, 2);
  if (config.family == "nomic_bert") return read_nomic(root, path, config);
  read_sizes(root, config);
  if (config.family != "albert" && config.family != "modernbert")
    config.activation = read_activation(root, "hidden_act", "gelu", path);
  reader_of(config.family)(root, path, config);
}

void read_first_position(JsonValue root, EncoderConfig& config) {
  const auto padding = given(root, "pad_token_id");
  config.first_position = padding ? padding->as_int(0, config.vocabulary) + 1 : 2;
  if (config.first_position >= config.positions)
    root.fail(concat("max_position_embeddings ", config.positions,
                     " leaves no position behind that of pad_token_id ", config.first_position - 1));
}

// Heads may be wider or fewer than C / H says, as where some were pruned; what attention adds by the head's
// number, or for all of C, has no such form.
void read_head_dim(JsonValue root, const std::string& path, EncoderConfig& config) {
  const bool is_given = given(root, "head_dim").has_value();
  if (!is_given && config.hidden % config.heads != 0)
    root.fail(
        concat("a hidden size of ", config.hidden, " is not a multiple of the ", config.heads, " heads"));
  config.head_dim = size_or(root, "head_dim", 1 << 12, std::max<int64_t>(config.hidden / config.heads, 1));
  const AttentionPositions positions = config.attention_positions;
  if (config.attention_width() != config.hidden &&
      (positions == AttentionPositions::kSlopes || positions == AttentionPositions::kDisentangled))
    refuse(path,
           concat(config.heads, " heads of ", config.head_dim, " with a hidden size of ", config.hidden),
           "for its positions heads that make up the hidden size");
  if (positions == AttentionPositions::kRotary && config.head_dim % 2 != 0)
    root.fail(concat("heads of ", config.head_dim, " numbers cannot be turned: they must be even"));
}

}  // namespace

Activation read_activation(JsonValue root, const char* key, std::string_view fallback,
                           const std::string& path) {
  const auto value = given(root, key);
  const std::string_view name = value ? value->as_string() : fallback;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return Activation::kGeluTanh;
  if (name == "quick_gelu") return Activation::kQuickGelu;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  refuse(path, concat(key, " '", name, "'"),
         "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, quick_gelu, silu and swish");
}

EncoderConfig read_encoder_config(const ModelPath& directory) {
  if (!directory.exists())
    throw Error(ErrorKind::kNotFound, concat(directory.name(),
                                             ": no such model directory; give a path to a directory with "
                                             "config.json, or demo:minilm"));
  const ModelPath file = directory / "config.json";
  const std::string& path = file.name();
  const std::string text = read_settings_file(file);
  const JsonDocument document(text, path);
  const JsonValue root = document.root();
  root.members();  // an object, or a clear error
  const auto type = root.find("model_type");
  EncoderConfig config;
  if (type && type->is_string()) config.family = type->as_string();
  if (encoder_names(config.family).empty()) {
    std::string known;
    for (const std::string& name : encoder_families()) known += concat(known.empty() ? "" : ", ", name);
    known += ", and for pictures vit, clip, siglip and either tower of these two";
    throw Error(ErrorKind::kUnsupported,
                concat(path, ": model_type '", config.family.empty() ? "(none)" : config.family,
                       "': supported are ", known));
  }
  config.vocabulary = size_field(root, "vocab_size", 1 << 24);
  config.norm_eps = static_cast<float>(number_or(root, "layer_norm_eps", 1e-14, 0.5, 1e-12));
  read_family(root, path, config);
  if (config.embedding == 0) config.embedding = config.hidden;
  if (config.layer_groups == 0) config.layer_groups = config.layers;
  config.windows.resize(static_cast<size_t>(config.layers));
  const std::string_view family = config.family;
  if (family == "roberta" || family == "xlm-roberta" || family == "camembert" || family == "mpnet")
    read_first_position(root, config);
  read_head_dim(root, path, config);
  return config;
}

}  // namespace headrace
