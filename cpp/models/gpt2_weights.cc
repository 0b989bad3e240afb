#include "models/gpt2_weights.h"

#include <utility>

#include "base/error.h"

namespace headrace {

Gpt2Weights::Gpt2Weights(std::unique_ptr<TensorSource> source, const LanguageConfig& config)
    : source_(std::move(source)) {
  // The first checkpoints have no prefix.
  prefix_ = source_->shape_of("wte.weight") ? "" : "transformer.";
  add("model.embed_tokens.weight", "wte.weight");
  add("model.embed_positions.weight", "wpe.weight");
  const auto norm = [&](const std::string& name, const std::string& stored) {
    for (const char* part : {".weight", ".bias"}) add(name + part, stored + part);
  };
  const auto linear = [&](const std::string& name, const std::string& stored) {
    add(name + ".weight", stored + ".weight", true);
    add(name + ".bias", stored + ".bias");
  };
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = concat("model.layers.", i, "."), stored = concat("h.", i, ".");
    norm(name + "input_layernorm", stored + "ln_1");
    linear(name + "self_attn.qkv_proj", stored + "attn.c_attn");
    linear(name + "self_attn.o_proj", stored + "attn.c_proj");
    norm(name + "post_attention_layernorm", stored + "ln_2");
    linear(name + "mlp.up_proj", stored + "mlp.c_fc");
    linear(name + "mlp.down_proj", stored + "mlp.c_proj");
  }
  norm("model.norm", "ln_f");
}

void Gpt2Weights::add(const std::string& name, const std::string& stored, bool is_turned) {
  Stored tensor{.name = prefix_ + stored, .is_turned = is_turned, .shape = {}};
  if (const std::vector<int64_t>* const shape = source_->shape_of(tensor.name)) {
    tensor.shape = *shape;
    if (is_turned && shape->size() == 2) std::swap(tensor.shape[0], tensor.shape[1]);
  }
  tensors_.emplace(name, std::move(tensor));
}

const Gpt2Weights::Stored* Gpt2Weights::find(std::string_view name) const {
  const auto found = tensors_.find(std::string(name));
  return found == tensors_.end() ? nullptr : &found->second;
}

const std::vector<int64_t>* Gpt2Weights::shape_of(std::string_view name) const {
  const Stored* const stored = find(name);
  if (!stored) return source_->shape_of(name);  // lm_head.weight
  return stored->shape.empty() ? nullptr : &stored->shape;
}

void Gpt2Weights::read(std::string_view name, float* out) const {
  const Stored* const stored = find(name);
  if (!stored) return source_->read(name, out);
  if (!stored->is_turned || stored->shape.size() != 2) return source_->read(stored->name, out);
  const int64_t n = stored->shape[0], k = stored->shape[1];
  std::vector<float> row(static_cast<size_t>(n));
  const RowReader reader = source_->rows(stored->name);
  for (int64_t i = 0; i < k; ++i) {
    reader(i, row.data());
    for (int64_t j = 0; j < n; ++j) out[j * k + i] = row[static_cast<size_t>(j)];
  }
}

TensorSource::RowReader Gpt2Weights::rows(std::string_view name) const {
  const Stored* const stored = find(name);
  return source_->rows(stored ? std::string_view(stored->name) : name);
}

const std::string& Gpt2Weights::path_of(std::string_view name) const {
  const Stored* const stored = find(name);
  return source_->path_of(stored ? std::string_view(stored->name) : name);
}

}  // namespace headrace
