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
  bool has_magnitudes = false;  // DoRA
};

AdapterConfig read_config(const std::string& path) {
  const std::string text = read_settings_file(path);
  const JsonDocument document(text, path);
  const JsonValue root = document.root();
  const auto type = given(root, "peft_type");
  if (type && type->as_string() != "LORA")
    refuse(path, concat("an adapter of type '", type->as_string(), "'"), "LORA");
  // "fan_in_fan_out" says how the base has its weights, which is known.
  for (const char* key : {"lora_bias", "use_qalora"})
    if (flag_or(root, key, false)) refuse(path, concat("'", key, "'"), "adapters without it");
  for (const char* key : {"rank_pattern", "alpha_pattern"})
    if (const auto pattern = given(root, key); pattern && pattern->size() > 0)
      refuse(path, concat("'", key, "'"), "one rank for all layers");
  for (const char* key : {"modules_to_save", "layer_replication", "trainable_token_indices"})
    if (given(root, key)) refuse(path, concat("'", key, "'"), "adapters of linear layers alone");
  if (const auto bias = given(root, "bias"); bias && bias->as_string() != "none")
    refuse(path, concat("trained biases ('", bias->as_string(), "')"), "none");
  AdapterConfig config;
  config.has_magnitudes = flag_or(root, "use_dora", false);
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
  std::string module;   // in the adapter's file
  std::string weights;  // in the model's
  int64_t n;
};

// What an adapter has for a part.
struct Found {
  std::vector<float> a, b;  // [r, K], [N, r], b scaled
  std::vector<float> stretch;
};

class Reader {
 public:
  Reader(const SafetensorsFile& file, const AdapterConfig& config, const TensorSource& weights,
         const Kernels& kernels)
      : file_(file), config_(config), weights_(weights), kernels_(kernels) {}

  // The parts stand side by side in one layer with K inputs.
  LowRank low_rank(const std::vector<Part>& parts, int64_t k) {
    int64_t n = 0, ranks = 0;
    std::vector<std::optional<Found>> found;
    for (const Part& part : parts) {
      found.push_back(read(part, k));
      ranks += found.back() ? config_.rank : 0;
      n += part.n;
    }
    if (ranks == 0) return {};
    if (ranks > Adapter::kMaxRanks)
      throw Error(ErrorKind::kUnsupported,
                  concat(file_.name(), ": ", ranks, " ranks in one layer: at most ", Adapter::kMaxRanks));
    std::vector<float> down(static_cast<size_t>(ranks * k)), up(static_cast<size_t>(n * ranks));
    Buffer stretch(config_.has_magnitudes ? n : 0);
    int64_t row = 0, rank = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (found[i]) {
        const auto& [a, b, stretches] = *found[i];
        std::copy(a.begin(), a.end(), down.begin() + rank * k);
        for (int64_t y = 0; y < parts[i].n; ++y)
          for (int64_t r = 0; r < config_.rank; ++r)
            up[static_cast<size_t>((row + y) * ranks + rank + r)] =
                b[static_cast<size_t>(y * config_.rank + r)];
        std::copy(stretches.begin(), stretches.end(), stretch.data() + row);
        rank += config_.rank;
      }
      row += parts[i].n;
    }
    return {.down = packed(ranks, k, std::move(down), kernels_),
            .up = packed(n, ranks, std::move(up), kernels_),
            .stretch = std::move(stretch)};
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
  std::optional<Found> read(const Part& part, int64_t k) {
    const std::string name = "base_model.model." + part.module;
    const bool has_a = file_.find(name + ".lora_A.weight"), has_b = file_.find(name + ".lora_B.weight");
    if (!has_a && !has_b) return std::nullopt;
    Found found{.a = tensor(name + ".lora_A.weight", {config_.rank, k}),
                .b = tensor(name + ".lora_B.weight", {part.n, config_.rank}),
                .stretch = {}};
    for (float& b : found.b) b *= static_cast<float>(config_.scale);
    if (config_.has_magnitudes)
      take_magnitudes(tensor(name + ".lora_magnitude_vector", {part.n}), part.weights, k, found);
    return found;
  }

  // Rows of b and of the base become as long as the magnitudes say.
  void take_magnitudes(const std::vector<float>& magnitudes, const std::string& weights, int64_t k,
                       Found& found) {
    const auto columns = static_cast<size_t>(k), ranks = static_cast<size_t>(config_.rank);
    std::vector<float> rows(magnitudes.size() * columns);
    weights_.read(weights + ".weight", rows.data());
    found.stretch.resize(magnitudes.size());
    for (size_t y = 0; y < magnitudes.size(); ++y) {
      float* const row = rows.data() + y * columns;
      float* const b = found.b.data() + y * ranks;
      for (size_t r = 0; r < ranks; ++r)
        for (size_t i = 0; i < columns; ++i) row[i] += b[r] * found.a[r * columns + i];
      double square = 0;
      for (size_t i = 0; i < columns; ++i) square += static_cast<double>(row[i]) * row[i];
      if (!(square > 0))
        throw Error(ErrorKind::kInvalidArgument,
                    concat(file_.name(), ": row ", y, " of ", weights,
                           " has no length with the adapter: its magnitude means nothing"));
      const double times = magnitudes[y] / std::sqrt(square);
      for (size_t r = 0; r < ranks; ++r) b[r] = static_cast<float>(times * b[r]);
      found.stretch[y] = static_cast<float>(times - 1);
    }
  }

  std::vector<float> tensor(const std::string& name, const std::vector<int64_t>& shape) {
    const TensorView& tensor = file_.at(name);
    int64_t count = 1;
    std::string sizes;
    for (const int64_t size : shape) {
      count *= size;
      sizes += concat(sizes.empty() ? "" : ", ", size);
    }
    if (tensor.shape != shape)
      throw Error(ErrorKind::kInvalidArgument,
                  concat(file_.name(), ": the tensor '", name, "' is not [", sizes,
                         "]: the adapter is of another model, or its config is"));
    std::vector<float> values(static_cast<size_t>(count));
    if (!is_floating(tensor.dtype))
      throw Error(ErrorKind::kUnsupported,
                  concat(file_.name(), ": the tensor '", name, "' must be of f32, f16 or bf16"));
    widen(tensor.dtype, tensor.bytes, values.data());
    used_.insert(name);
    parameters_ += count;
    return values;
  }

  const SafetensorsFile& file_;
  const AdapterConfig& config_;
  const TensorSource& weights_;
  const Kernels& kernels_;
  std::set<std::string> used_;
  int64_t parameters_ = 0;
};

}  // namespace

std::unique_ptr<Adapter> Adapter::load(const std::string& directory, const LanguageConfig& c,
                                       const TensorSource& weights, const Kernels& kernels) {
  const AdapterConfig config = read_config(directory + "/adapter_config.json");
  const SafetensorsFile file = SafetensorsFile::open(directory + "/adapter_model.safetensors");
  Reader reader(file, config, weights, kernels);
  auto adapter = std::make_unique<Adapter>();
  const int64_t queries = c.heads * c.head_dim, keys = c.kv_heads * c.head_dim, f = c.feed_forward;
  const bool is_gpt2 = c.family == "gpt2";
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = concat("model.layers.", i, "."), gpt2_layer = concat("transformer.h.", i, ".");
    // gpt2_name: of the same layer in the files of GPT-2.
    const auto part = [&](const char* name, int64_t n, const char* gpt2_name = "") {
      return Part{is_gpt2 ? gpt2_layer + gpt2_name : layer + name, layer + name, n};
    };
    const auto qkv = c.is_fused ? std::vector{part("self_attn.qkv_proj", queries + 2 * keys, "attn.c_attn")}
                                : std::vector{part("self_attn.q_proj", queries),
                                              part("self_attn.k_proj", keys), part("self_attn.v_proj", keys)};
    const auto gate_up = !c.has_gates ? std::vector{part("mlp.up_proj", f, "mlp.c_fc")}
                         : c.is_fused ? std::vector{part("mlp.gate_up_proj", 2 * f)}
                                      : std::vector{part("mlp.gate_proj", f), part("mlp.up_proj", f)};
    adapter->layers.push_back(
        {.qkv = reader.low_rank(qkv, c.hidden),
         .attended = reader.low_rank({part("self_attn.o_proj", c.hidden, "attn.c_proj")}, queries),
         .gate_up = reader.low_rank(gate_up, c.hidden),
         .down = reader.low_rank({part("mlp.down_proj", c.hidden, "mlp.c_proj")}, f)});
  }
  reader.check_all_used();
  adapter->parameters = reader.parameters();
  return adapter;
}

}  // namespace headrace
