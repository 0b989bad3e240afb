#include "models/adapter.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "models/json_fields.h"
#include "models/settings_file.h"
#include "models/weights.h"
#include "tensor/safetensors.h"
#include "tensor/widen.h"

namespace headrace {
namespace {

struct AdapterConfig {
  int64_t rank = 0;
  double scale = 1;
};

AdapterConfig read_config(const std::string& path) {
  const std::string text = read_settings_file(path);
  const JsonDocument document(text, path);
  const JsonValue root = document.root();
  const auto type = given(root, "peft_type");
  if (type && type->as_string() != "LORA")
    refuse(path, concat("an adapter of type '", type->as_string(), "'"), "LORA");
  for (const char* key : {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"})
    if (flag_or(root, key, false)) refuse(path, concat("'", key, "'"), "adapters without it");
  for (const char* key : {"rank_pattern", "alpha_pattern"})
    if (const auto pattern = given(root, key); pattern && pattern->size() > 0)
      refuse(path, concat("'", key, "'"), "one rank for all layers");
  for (const char* key : {"modules_to_save", "layer_replication", "trainable_token_indices"})
    if (given(root, key)) refuse(path, concat("'", key, "'"), "adapters of linear layers alone");
  if (const auto bias = given(root, "bias"); bias && bias->as_string() != "none")
    refuse(path, concat("trained biases ('", bias->as_string(), "')"), "none");
  AdapterConfig config;
  config.rank = root.at("r").as_int(1, Adapter::kMaxRanks);
  const double alpha = number_or(root, "lora_alpha", -1e6, 1e6, static_cast<double>(config.rank));
  const auto rank = static_cast<double>(config.rank);
  config.scale = alpha / (flag_or(root, "use_rslora", false) ? std::sqrt(rank) : rank);
  return config;
}

// Matrices that are made here, as WeightReader takes tensors.
class Made final : public TensorSource {
 public:
  Made(std::vector<int64_t> shape, std::vector<float> values)
      : shape_(std::move(shape)), values_(std::move(values)) {}
  const std::vector<int64_t>* shape_of(std::string_view name) const override {
    return name == "made.weight" ? &shape_ : nullptr;
  }
  void read(std::string_view, float* out) const override { std::copy(values_.begin(), values_.end(), out); }
  RowReader rows(std::string_view) const override { return {}; }
  const std::string& path_of(std::string_view) const override { return path_; }

 private:
  std::vector<int64_t> shape_;
  std::vector<float> values_;
  std::string path_ = "an adapter";
};

Linear packed(int64_t n, int64_t k, std::vector<float> values, const Kernels& kernels) {
  const Made made({n, k}, std::move(values));
  WeightReader reader(made, "", kernels);
  return reader.projection({{"made", n}}, k);
}

struct Part {
  std::string module;
  int64_t n;
};

class Reader {
 public:
  Reader(const SafetensorsFile& file, const AdapterConfig& config, const Kernels& kernels)
      : file_(file), config_(config), kernels_(kernels) {}

  // The parts stand side by side in one layer with K inputs.
  LowRank low_rank(const std::string& layer, const std::vector<Part>& parts, int64_t k) {
    int64_t n = 0, ranks = 0;
    std::vector<std::optional<std::pair<std::vector<float>, std::vector<float>>>> found;
    for (const Part& part : parts) {
      found.push_back(matrices(layer + part.module, part.n, k));
      ranks += found.back() ? config_.rank : 0;
      n += part.n;
    }
    if (ranks == 0) return {};
    if (ranks > Adapter::kMaxRanks)
      throw Error(ErrorKind::kUnsupported,
                  concat(file_.name(), ": ", ranks, " ranks in one layer: at most ", Adapter::kMaxRanks));
    std::vector<float> down(static_cast<size_t>(ranks * k)), up(static_cast<size_t>(n * ranks));
    int64_t row = 0, rank = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (found[i]) {
        const auto& [a, b] = *found[i];
        std::copy(a.begin(), a.end(), down.begin() + rank * k);
        for (int64_t y = 0; y < parts[i].n; ++y)
          for (int64_t r = 0; r < config_.rank; ++r)
            up[static_cast<size_t>((row + y) * ranks + rank + r)] =
                static_cast<float>(config_.scale) * b[static_cast<size_t>(y * config_.rank + r)];
        rank += config_.rank;
      }
      row += parts[i].n;
    }
    return {.down = packed(ranks, k, std::move(down), kernels_),
            .up = packed(n, ranks, std::move(up), kernels_)};
  }

  int64_t parameters() const { return parameters_; }

  // Throws when the file has a tensor that was not asked for.
  void check_all_used() const {
    for (const TensorView& tensor : file_.tensors())
      if (!used_.contains(std::string(tensor.name)))
        throw Error(
            ErrorKind::kUnsupported,
            concat(file_.name(), ": the tensor '", tensor.name,
                   "' is of no linear layer that this model has: supported are adapters of the layers "
                   "of attention and feed-forward"));
  }

 private:
  std::optional<std::pair<std::vector<float>, std::vector<float>>> matrices(const std::string& module,
                                                                            int64_t n, int64_t k) {
    const std::string name = "base_model.model." + module;
    const bool has_a = file_.find(name + ".lora_A.weight"), has_b = file_.find(name + ".lora_B.weight");
    if (!has_a && !has_b) return std::nullopt;
    return std::pair(matrix(name + ".lora_A.weight", config_.rank, k),
                     matrix(name + ".lora_B.weight", n, config_.rank));
  }

  std::vector<float> matrix(const std::string& name, int64_t rows, int64_t columns) {
    const TensorView& tensor = file_.at(name);
    if (tensor.shape != std::vector<int64_t>{rows, columns})
      throw Error(ErrorKind::kInvalidArgument,
                  concat(file_.name(), ": the tensor '", name, "' is not [", rows, ", ", columns,
                         "]: the adapter is of another model, or its config is"));
    std::vector<float> values(static_cast<size_t>(rows * columns));
    if (!is_floating(tensor.dtype))
      throw Error(ErrorKind::kUnsupported,
                  concat(file_.name(), ": the tensor '", name, "' must be of f32, f16 or bf16"));
    widen(tensor.dtype, tensor.bytes, values.data());
    used_.insert(name);
    parameters_ += rows * columns;
    return values;
  }

  const SafetensorsFile& file_;
  const AdapterConfig& config_;
  const Kernels& kernels_;
  std::set<std::string> used_;
  int64_t parameters_ = 0;
};

}  // namespace

std::unique_ptr<Adapter> Adapter::load(const std::string& directory, const LanguageConfig& c,
                                       const Kernels& kernels) {
  const AdapterConfig config = read_config(directory + "/adapter_config.json");
  if (!c.has_gates)
    throw Error(ErrorKind::kUnsupported, concat("adapters of ", c.family, " are not supported"));
  const SafetensorsFile file = SafetensorsFile::open(directory + "/adapter_model.safetensors");
  Reader reader(file, config, kernels);
  auto adapter = std::make_unique<Adapter>();
  const int64_t queries = c.heads * c.head_dim, keys = c.kv_heads * c.head_dim, f = c.feed_forward;
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = concat("model.layers.", i, ".");
    const auto qkv = c.is_fused ? std::vector<Part>{{"self_attn.qkv_proj", queries + 2 * keys}}
                                : std::vector<Part>{{"self_attn.q_proj", queries},
                                                    {"self_attn.k_proj", keys},
                                                    {"self_attn.v_proj", keys}};
    const auto gate_up = c.is_fused ? std::vector<Part>{{"mlp.gate_up_proj", 2 * f}}
                                    : std::vector<Part>{{"mlp.gate_proj", f}, {"mlp.up_proj", f}};
    adapter->layers.push_back({.qkv = reader.low_rank(layer, qkv, c.hidden),
                               .attended = reader.low_rank(layer, {{"self_attn.o_proj", c.hidden}}, queries),
                               .gate_up = reader.low_rank(layer, gate_up, c.hidden),
                               .down = reader.low_rank(layer, {{"mlp.down_proj", c.hidden}}, f)});
  }
  reader.check_all_used();
  adapter->parameters = reader.parameters();
  return adapter;
}

}  // namespace headrace
