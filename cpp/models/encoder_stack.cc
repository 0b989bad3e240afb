#include "models/encoder_stack.h"

#include <algorithm>

#include "base/error.h"

namespace headrace {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

// One of a layer's matrices, or several side by side.
Linear read_linear(WeightReader& reader, const std::string& layer, std::vector<Projection> parts, int64_t k,
                   bool has_biases, const ColumnSizes& input) {
  for (Projection& part : parts) {
    part.name = layer + part.name;
    if (has_biases) reader.require(part.name + ".bias");
  }
  return reader.projection(parts, k, input);
}

std::vector<EncoderLayer> read_layers(WeightReader& reader, const EncoderConfig& config,
                                      const EncoderNames& names, const std::vector<LayerInputs>& inputs) {
  const int64_t c = config.hidden, f = config.feed_forward, width = config.attention_width();
  std::vector<EncoderLayer> layers(static_cast<size_t>(config.layer_groups));
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerInputs input = inputs.empty() ? LayerInputs() : inputs[i];
    const auto named = [&](size_t index) { return concat(names.layer, index, "."); };
    const std::string layer = named(i);
    const auto linear = [&](std::vector<Projection> parts, int64_t k, const ColumnSizes& sizes) {
      return read_linear(reader, layer, std::move(parts), k, names.has_biases, sizes);
    };
    const auto norm = [&](const std::string& name) {
      return reader.layer_norm(name, c, config.norm_eps, config.norm_has_bias);
    };
    std::vector<Projection> qkv{{names.query, names.key ? width : 3 * width}};
    if (names.key) qkv.insert(qkv.end(), {{names.key, width}, {names.value, width}});
    std::vector<Projection> up{{names.up, f}};
    if (config.is_gated && names.gate) up.insert(up.begin(), {names.gate, f});
    if (config.is_gated && !names.gate) up.front() = {names.up, 2 * f, names.has_up_first};
    std::string down_norm = layer + names.down_norm;
    if (config.is_pre_norm)
      down_norm = i + 1 < layers.size() ? named(i + 1) + names.down_norm : std::string(names.final_norm);
    layers[i] = {.qkv = linear(std::move(qkv), c, input.qkv),
                 .attended = linear({{names.attended, c}}, width, input.attended),
                 .attended_norm = norm(layer + names.attended_norm),
                 .up = linear(std::move(up), c, input.up),
                 .down = linear({{names.down, c}}, f, input.down),
                 .down_norm = norm(down_norm),
                 .activation = config.activation,
                 .is_gated = config.is_gated,
                 .is_pre_norm = config.is_pre_norm};
  }
  return layers;
}

}  // namespace

void EncoderStack::load_attention(const EncoderConfig& config, const EncoderNames& names,
                                  WeightReader& reader) {
  config_ = config;
  attention_.load(config, names, reader, kernels_);
}

void EncoderStack::load_layers(const EncoderNames& names, WeightReader& reader,
                               const std::vector<LayerInputs>& inputs) {
  layers_ = read_layers(reader, config_, names, inputs);
  attention_.use(reader.precision());
  if (config_.norms_first)
    first_norm_ = reader.layer_norm(concat(names.layer, "0.", names.down_norm), config_.hidden,
                                    config_.norm_eps, config_.norm_has_bias);
}

int64_t EncoderStack::packed_bytes() const {
  int64_t bytes = 0;
  for (const EncoderLayer& each : layers_)
    for (const Linear* linear : {&each.qkv, &each.attended, &each.up, &each.down})
      bytes += (linear->packed.size() - linear->n * linear->k) * kFloatBytes;
  return bytes;
}

const float* EncoderStack::first_input(int64_t tokens, ThreadPool& pool) {
  if (!first_norm_) return x_.data();
  first_norm_->forward(kernels_, pool, tokens, x_.data(), context_.data());
  return context_.data();
}

std::vector<LayerInputs> EncoderStack::observe(const TokenBatch& batch, ThreadPool& pool) {
  std::vector<LayerInputs> inputs(layers_.size());
  Buffer input(batch.tokens() * config_.hidden);
  const float* const first = first_input(batch.tokens(), pool);
  std::copy(first, first + input.size(), input.data());
  for (int64_t i = 0; i < config_.layers; ++i) {
    const EncoderLayer& own = layer(i);
    LayerInputs& seen = inputs[static_cast<size_t>(&own - layers_.data())];
    add_sizes(input.data(), batch.tokens(), config_.hidden, &seen.qkv);
    rows_.project(own, pool, batch.tokens(), input.data(), qkv_.data());
    attention_.run(i, batch, pool, qkv_.data(), context_.data());
    rows_.observe(own, pool, batch.tokens(), context_.data(), x_.data(), &seen, input.data());
  }
  return inputs;
}

void EncoderStack::reserve(int64_t max_batch_tokens, int threads) {
  const int64_t c = config_.hidden;
  x_ = Buffer(max_batch_tokens * c);
  qkv_ = Buffer(max_batch_tokens * 3 * config_.attention_width());
  context_ = Buffer(max_batch_tokens * std::max(c, config_.attention_width()));
  rows_.reserve(kernels_, layers_.front(), max_batch_tokens, threads);
  attention_.reserve(max_batch_tokens, threads);
}

void EncoderStack::run(const TokenBatch& batch, ThreadPool& pool) {
  const int64_t tokens = batch.tokens();
  rows_.project(layer(0), pool, tokens, first_input(tokens, pool), qkv_.data());
  for (int64_t i = 0; i < config_.layers && !batch.is_unwanted(); ++i) {
    attention_.run(i, batch, pool, qkv_.data(), context_.data());
    const EncoderLayer* const next = i + 1 < config_.layers ? &layer(i + 1) : nullptr;
    rows_.finish(layer(i), next, pool, tokens, context_.data(), x_.data(), qkv_.data());
  }
}

}  // namespace headrace
