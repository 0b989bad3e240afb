#include "models/gguf_weights.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace headrace {
namespace {

// architecture -> model_type
constexpr std::pair<const char*, const char*> kArchitectures[] = {
    {"llama", "llama"}, {"qwen2", "qwen2"},   {"qwen3", "qwen3"},
    {"phi3", "phi3"},   {"gemma2", "gemma2"}, {"gemma3", "gemma3_text"},
};

constexpr std::pair<std::string_view, std::string_view> kWholeNames[] = {
    {"model.embed_tokens.", "token_embd."}, {"model.norm.", "output_norm."}, {"lm_head.", "output."}};

// Within a layer. Gemma norms more, and its names differ.
constexpr std::pair<std::string_view, std::string_view> kLayerNames[] = {
    {"input_layernorm.", "attn_norm."},
    {"self_attn.q_proj.", "attn_q."},
    {"self_attn.k_proj.", "attn_k."},
    {"self_attn.v_proj.", "attn_v."},
    {"self_attn.o_proj.", "attn_output."},
    {"self_attn.qkv_proj.", "attn_qkv."},
    {"self_attn.q_norm.", "attn_q_norm."},
    {"self_attn.k_norm.", "attn_k_norm."},
    {"mlp.gate_proj.", "ffn_gate."},
    {"mlp.up_proj.", "ffn_up."},
    {"mlp.down_proj.", "ffn_down."},
    {"mlp.gate_up_proj.", "ffn_up."},
    {"pre_feedforward_layernorm.", "ffn_norm."},
    {"post_feedforward_layernorm.", "post_ffw_norm."},
};

std::string stored_name(std::string_view name, bool is_gemma) {
  for (const auto& [ours, stored] : kWholeNames)
    if (name.starts_with(ours)) return concat(stored, name.substr(ours.size()));
  constexpr std::string_view kLayers = "model.layers.";
  if (!name.starts_with(kLayers)) return std::string(name);
  const std::string_view rest = name.substr(kLayers.size());
  const size_t dot = rest.find('.');
  if (dot == std::string_view::npos) return std::string(name);
  const std::string_view layer = rest.substr(0, dot), inner = rest.substr(dot + 1);
  constexpr std::string_view kAfter = "post_attention_layernorm.";
  if (inner.starts_with(kAfter))
    return concat("blk.", layer, is_gemma ? ".post_attention_norm." : ".ffn_norm.",
                  inner.substr(kAfter.size()));
  for (const auto& [ours, stored] : kLayerNames)
    if (inner.starts_with(ours)) return concat("blk.", layer, ".", stored, inner.substr(ours.size()));
  return std::string(name);
}

// The keys of one architecture.
class Keys {
 public:
  Keys(const GgufMetadata& file, std::string architecture) : file_(file), prefix_(architecture + ".") {}

  int64_t size(const char* key, int64_t high) const {
    return check(key, high, file_.find_int(prefix_ + key));
  }
  int64_t size_or(const char* key, int64_t high, int64_t fallback) const {
    const auto value = file_.find_int(prefix_ + key);
    return value ? check(key, high, value) : fallback;
  }
  double number_or(const char* key, double low, double high, double fallback) const {
    const auto value = file_.find_float(prefix_ + key);
    if (!value) return fallback;
    if (!(*value >= low && *value <= high))
      fail(concat("the key '", prefix_, key, "' is ", *value, "; it must lie between ", low, " and ", high));
    return *value;
  }
  std::string text_or(const char* key, const char* fallback) const {
    return std::string(file_.find_string(prefix_ + key).value_or(fallback));
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kCorruptFile, concat(file_.name(), ": ", what));
  }

 private:
  int64_t check(const char* key, int64_t high, std::optional<int64_t> value) const {
    if (!value) fail(concat("the key '", prefix_, key, "' is missing"));
    if (*value < 1 || *value > high)
      fail(concat("the key '", prefix_, key, "' is ", *value, "; it must lie between 1 and ", high));
    return *value;
  }

  const GgufMetadata& file_;
  std::string prefix_;
};

// What each frequency is divided by, as a tensor; empty where the file has none of that name.
std::vector<float> read_divisors(const Keys& keys, const GgufFile& file, const std::string& name,
                                 const LanguageConfig& config) {
  const GgufTensor* const factors = file.find(name);
  if (!factors) return {};
  if (factors->type != GgufType::kF32 || factors->numbers() != config.rotated / 2)
    keys.fail(concat("the tensor '", name, "' must hold a float for each pair that positions turn"));
  std::vector<float> divisors(static_cast<size_t>(factors->numbers()));
  dequantize(factors->type, factors->bytes, divisors.data());
  return divisors;
}

void read_rotary(const Keys& keys, const GgufFile& file, LanguageConfig& config) {
  RotaryConfig& rotary = config.rotary;
  rotary.theta = keys.number_or("rope.freq_base", 1.0, 1e12, 10000.0);
  config.local_rotary = rotary;
  if (config.family == "gemma3_text") config.local_rotary.theta = 10000.0;
  const std::string type = keys.text_or("rope.scaling.type", "none");
  if (type == "linear" || type == "yarn") {
    rotary.type = type;
    rotary.factor = keys.number_or("rope.scaling.factor", 1.0, 1e4, 1.0);
    rotary.original_positions =
        static_cast<double>(keys.size_or("rope.scaling.original_context_length", 1 << 30, config.positions));
  } else if (type != "none" && type != "longrope") {
    throw Error(ErrorKind::kUnsupported, concat(file.name(), ": rotary positions of type '", type,
                                                "': supported are none, linear, yarn and longrope"));
  }
  if (config.family != "gemma3_text") config.local_rotary = rotary;
  rotary.divisors = read_divisors(keys, file, "rope_freqs.weight", config);  // Llama 3
  if (auto divisors = read_divisors(keys, file, "rope_factors_short.weight", config); !divisors.empty()) {
    rotary.type = "longrope";
    rotary.divisors = std::move(divisors);
    rotary.long_divisors = read_divisors(keys, file, "rope_factors_long.weight", config);
    if (rotary.long_divisors.empty()) keys.fail("the tensor 'rope_factors_long.weight' is missing");
    rotary.original_positions =
        static_cast<double>(keys.size_or("rope.scaling.original_context_length", 1 << 30, config.positions));
    rotary.factor = static_cast<double>(config.positions) / rotary.original_positions;
    rotary.attention_factor = keys.number_or("rope.scaling.attn_factor", 1e-3, 1e3, 0.0);
  } else if (type == "longrope") {
    keys.fail("positions of type longrope without the tensor 'rope_factors_short.weight'");
  }
  if (!rotary.divisors.empty()) config.local_rotary = rotary;
}

void read_windows(const Keys& keys, LanguageConfig& config) {
  config.windows.assign(static_cast<size_t>(config.layers), 0);
  const int64_t window = keys.size_or("attention.sliding_window", 1 << 30, 0);
  if (window == 0 || !(config.family.starts_with("gemma") || config.family == "phi3")) return;
  const int64_t pattern = config.family == "gemma2" ? 2 : 6;
  for (int64_t i = 0; i < config.layers; ++i)
    if (config.family == "phi3" || (i + 1) % pattern != 0) config.windows[static_cast<size_t>(i)] = window;
}

void read_gemma(const Keys& keys, LanguageConfig& config) {
  // The file's gains have had their one added.
  config.embedding_scale = std::sqrt(static_cast<float>(config.hidden));
  config.has_post_norms = true;
  config.activation = Activation::kGeluTanh;
  config.attention_cap = static_cast<float>(keys.number_or("attn_logit_softcapping", 0, 1e6, 0.0));
  config.logit_cap = static_cast<float>(keys.number_or("final_logit_softcapping", 0, 1e6, 0.0));
}

// The rows of a tensor as they lie in the file.
class StoredRows {
 public:
  // heads: see turned_heads().
  StoredRows(const GgufTensor& tensor, int64_t heads)
      // A bias has a row for each of its numbers.
      : tensor_(tensor),
        width_(heads > 0 && tensor.shape.size() == 1 ? 1 : tensor.shape.back()),
        rows_(tensor.numbers() / width_),
        heads_(heads) {
    const GgufBlock block = gguf_block(tensor.type);
    if (width_ % block.numbers != 0)
      throw Error(ErrorKind::kUnsupported, concat("the tensor '", tensor.name, "' is a bias in blocks"));
    row_bytes_ = width_ / block.numbers * block.bytes;
  }

  int64_t width() const { return width_; }
  int64_t count() const { return rows_; }
  GgufType type() const { return tensor_.type; }
  std::span<const std::byte> row(int64_t row) const {
    return tensor_.bytes.subspan(static_cast<size_t>(stored(row) * row_bytes_),
                                 static_cast<size_t>(row_bytes_));
  }

 private:
  // Where ours turn the halves of a head against each other, the file's turn neighbours.
  int64_t stored(int64_t row) const {
    const int64_t half = heads_ > 0 ? rows_ / heads_ / 2 : 0;
    if (half == 0) return row;
    const int64_t size = rows_ / heads_, head = row / size, within = row % size;
    return head * size + within % half * 2 + within / half;
  }

  const GgufTensor& tensor_;
  int64_t width_, rows_, heads_, row_bytes_ = 0;
};

}  // namespace

GgufWeights::GgufWeights(GgufFile file) : file_(std::move(file)) {
  architecture_ = std::string(file_.metadata().find_string("general.architecture").value_or(""));
  if (architecture_.empty()) return;
  const Keys keys(file_.metadata(), architecture_);
  heads_ = keys.size_or("attention.head_count", 1 << 10, 1);
  kv_heads_ = keys.size_or("attention.head_count_kv", 1 << 10, heads_);
}

LanguageConfig GgufWeights::config() const {
  LanguageConfig config;
  std::string known;
  for (const auto& [architecture, family] : kArchitectures) {
    if (architecture == architecture_) config.family = family;
    known += concat(known.empty() ? "" : ", ", architecture);
  }
  if (config.family.empty())
    throw Error(ErrorKind::kUnsupported,
                concat(file_.name(), ": architecture '", architecture_.empty() ? "(none)" : architecture_,
                       "': supported are ", known));
  const Keys keys(file_.metadata(), architecture_);
  config.hidden = keys.size("embedding_length", 1 << 16);
  config.layers = keys.size("block_count", 1 << 10);
  config.heads = keys.size("attention.head_count", 1 << 10);
  config.kv_heads = kv_heads_;
  config.head_dim =
      keys.size_or("attention.key_length", 1 << 12, std::max<int64_t>(1, config.hidden / config.heads));
  config.feed_forward = keys.size("feed_forward_length", 1 << 18);
  config.positions = keys.size("context_length", 1 << 24);
  config.norm_eps = static_cast<float>(keys.number_or("attention.layer_norm_rms_epsilon", 1e-12, 1e-1, 1e-6));
  config.rotated = keys.size_or("rope.dimension_count", config.head_dim, config.head_dim) / 2 * 2;
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  config.has_head_norms = file_.find("blk.0.attn_q_norm.weight") != nullptr;
  config.is_fused = config.family == "phi3";
  config.is_tied = file_.find("output.weight") == nullptr;
  const GgufTensor* const embeddings = file_.find("token_embd.weight");
  if (!embeddings || embeddings->shape.size() != 2)
    keys.fail("the tensor 'token_embd.weight' is missing, or no matrix");
  config.vocabulary = embeddings->shape[0];
  if (config.heads % config.kv_heads != 0)
    keys.fail(concat(config.heads, " query heads are no multiple of ", config.kv_heads, " key-value heads"));
  if (config.family.starts_with("gemma")) read_gemma(keys, config);
  read_rotary(keys, file_, config);
  read_windows(keys, config);
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"})
    if (const auto id = file_.metadata().find_int(key); id && *id >= 0 && *id < config.vocabulary)
      config.end_ids.push_back(static_cast<int32_t>(*id));
  if (const auto id = file_.metadata().find_int("tokenizer.ggml.bos_token_id"); id && *id < config.vocabulary)
    config.begin_id = static_cast<int32_t>(*id);
  config.chat_template = file_.metadata().find_string("tokenizer.chat_template").value_or("");
  return config;
}

const GgufTensor* GgufWeights::find(std::string_view name) const {
  return file_.find(stored_name(name, architecture_.starts_with("gemma")));
}

// llama.cpp stores the query and key rows of its architecture "llama" for positions that turn neighbours.
int64_t GgufWeights::turned_heads(std::string_view name) const {
  if (architecture_ != "llama") return 0;
  if (name.find(".q_proj.") != std::string_view::npos) return heads_;
  return name.find(".k_proj.") != std::string_view::npos ? kv_heads_ : 0;
}

const std::vector<int64_t>* GgufWeights::shape_of(std::string_view name) const {
  const GgufTensor* const tensor = find(name);
  return tensor ? &tensor->shape : nullptr;
}

void GgufWeights::read(std::string_view name, float* out) const {
  const StoredRows rows(*find(name), turned_heads(name));
  for (int64_t i = 0; i < rows.count(); ++i) dequantize(rows.type(), rows.row(i), out + i * rows.width());
}

TensorSource::RowReader GgufWeights::rows(std::string_view name) const {
  return [rows = StoredRows(*find(name), turned_heads(name))](int64_t row, float* out) {
    dequantize(rows.type(), rows.row(row), out);
  };
}

int GgufWeights::group_bits(std::string_view name) const {
  const GgufTensor* const tensor = find(name);
  return tensor ? headrace::group_bits(tensor->type) : 0;
}

void GgufWeights::read_groups(std::string_view name, uint8_t* q, float* scale, float* offset) const {
  const StoredRows rows(*find(name), turned_heads(name));
  const int64_t width = rows.width(), groups = width / gguf_block(rows.type()).numbers;
  for (int64_t i = 0; i < rows.count(); ++i)
    headrace::read_groups(rows.type(), rows.row(i), q + i * width, scale + i * groups,
                          offset ? offset + i * groups : nullptr);
}

}  // namespace headrace
