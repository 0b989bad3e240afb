#include "models/language_model.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/devices.h"
#include "models/gguf_weights.h"
#include "models/gpt2_weights.h"
#include "models/settings_file.h"
#include "tensor/checkpoint.h"

namespace headrace {
namespace {

// A step's work by rows: enough of them in one task that handing it out costs little, few enough that every
// thread has some when many texts go on by a token each.
constexpr int64_t kLeastRowsPerTask = 4, kMostRowsPerTask = 16, kTasksPerThread = 4;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <typename Body>
void each_rows(ThreadPool& pool, int64_t rows, const Body& body) {
  const int64_t height =
      std::clamp(rows / (kTasksPerThread * pool.threads()), kLeastRowsPerTask, kMostRowsPerTask);
  pool.parallel_for(divide_up(rows, height), [&](int64_t task, int) {
    const int64_t begin = task * height;
    body(begin, std::min(rows, begin + height));
  });
}

// A norm of heads, whose mean is never subtracted.
Buffer read_gain(WeightReader& reader, const std::string& name, int64_t c, float offset) {
  Buffer gain = reader.tensor(name + ".weight", {c});
  for (int64_t i = 0; i < c; ++i) gain.data()[i] += offset;
  return gain;
}

}  // namespace

LanguageModel::Norm LanguageModel::read_norm(WeightReader& reader, const std::string& name) const {
  Norm norm{.gain = read_gain(reader, name, config_.hidden, config_.norm_offset), .bias = {}};
  if (config_.has_layer_norms) norm.bias = reader.tensor(name + ".bias", {config_.hidden});
  return norm;
}

std::unique_ptr<LanguageModel> LanguageModel::load(const ModelPath& directory, const Kernels& kernels,
                                                   const LoadOptions& options) {
  const std::optional<ModelPath> gguf = gguf_path(directory);
  std::unique_ptr<TensorSource> source;
  LanguageConfig config;
  if (!gguf) {
    config = read_language_config(directory);
    source = std::make_unique<Checkpoint>(Checkpoint::open(directory));
    if (config.family == "gpt2") source = std::make_unique<Gpt2Weights>(std::move(source), config);
  } else {
    auto weights = std::make_unique<GgufWeights>(GgufWeights::open(*gguf));
    config = weights->config();
    source = std::move(weights);
  }
  std::unique_ptr<LanguageModel> model(new LanguageModel(kernels, std::move(source)));
  model->config_ = config;
  const bool on_device = options.device != "cpu";
  std::unique_ptr<cuda::DeviceTable> device;
  if (on_device) device = open_device(options.device);  // before the work of reading
  const Kernels& layout = on_device ? device_layout() : kernels;
  WeightReader reader(*model->source_, "", layout);
  Precision precision = language_precision_by_name(options.precision, layout);
  if (options.precision == "auto") {
    // What the file's matrices are stored in, where that is groups.
    const int bits = model->source_->group_bits("model.layers.0.mlp.down_proj.weight");
    if (bits != 0) {
      precision = bits == 4 ? Precision::kQ4 : Precision::kQ8;
      reader.use_stored_groups();
    }
  }
  reader.use(precision);
  model->embedding_ = reader.rows("model.embed_tokens.weight", config.vocabulary, config.hidden);
  if (config.has_learned_positions)
    model->position_ = reader.rows("model.embed_positions.weight", config.positions, config.hidden);
  for (int64_t i = 0; i < config.layers; ++i) model->layers_.push_back(model->read_layer(reader, i));
  model->final_norm_ = model->read_norm(reader, "model.norm");
  // A tied model's file may hold the shared weights under either name, or both.
  const bool has_output = reader.has("lm_head.weight") && !config.is_tied;
  model->output_ =
      reader.projection({{has_output ? "lm_head" : "model.embed_tokens", config.vocabulary}}, config.hidden);

  ModelInfo& info = model->info_;
  info.task = "generate";
  info.architecture = config.family;
  info.isa = layout.name;
  info.precision = precision_name(precision);
  info.rows = AnswerRows::kPicked;
  info.dimensions = config.vocabulary;
  info.max_tokens = config.positions;
  info.vocabulary = config.vocabulary;
  // A tied model's embeddings were read as its last layer.
  info.parameters = reader.parameters() + (has_output ? config.vocabulary * config.hidden : 0);
  info.weight_bytes = reader.packed_bytes();
  if (on_device) {
    model->device_ = std::make_unique<DeviceDecoder>(
        std::move(device),
        DeviceDecoder::Parts{model->config_, model->layers_, model->final_norm_, model->output_});
    model->output_ = {};
  }
  return model;
}

LanguageModel::Layer LanguageModel::read_layer(WeightReader& reader, int64_t index) const {
  const LanguageConfig& c = config_;
  const std::string name = concat("model.layers.", index, ".");
  const std::string attention = name + "self_attn.", mlp = name + "mlp.";
  const int64_t queries = c.heads * c.head_dim, keys = c.kv_heads * c.head_dim;
  Layer layer;
  layer.attention_norm = read_norm(reader, name + "input_layernorm");
  if (c.is_fused) {
    layer.qkv = reader.projection({{attention + "qkv_proj", queries + 2 * keys}}, c.hidden);
    layer.gate_up = c.has_gates ? reader.projection({{mlp + "gate_up_proj", 2 * c.feed_forward}}, c.hidden)
                                : reader.projection({{mlp + "up_proj", c.feed_forward}}, c.hidden);
  } else {
    layer.qkv = reader.projection(
        {{attention + "q_proj", queries}, {attention + "k_proj", keys}, {attention + "v_proj", keys}},
        c.hidden);
    layer.gate_up =
        reader.projection({{mlp + "gate_proj", c.feed_forward}, {mlp + "up_proj", c.feed_forward}}, c.hidden);
  }
  if (c.has_head_norms) {
    layer.query_norm = read_gain(reader, attention + "q_norm", c.head_dim, c.norm_offset);
    layer.key_norm = read_gain(reader, attention + "k_norm", c.head_dim, c.norm_offset);
  }
  layer.attended = reader.projection({{attention + "o_proj", c.hidden}}, queries);
  layer.down = reader.projection({{mlp + "down_proj", c.hidden}}, c.feed_forward);
  if (c.has_post_norms) {
    layer.attended_norm = read_norm(reader, name + "post_attention_layernorm");
    layer.mlp_norm = read_norm(reader, name + "pre_feedforward_layernorm");
    layer.down_norm = read_norm(reader, name + "post_feedforward_layernorm");
  } else {
    layer.mlp_norm = read_norm(reader, name + "post_attention_layernorm");
  }
  layer.window = c.windows[static_cast<size_t>(index)];
  return layer;
}

int64_t LanguageModel::cache_block_bytes(KvType kv) const {
  if (device_) return device_->cache_block_bytes(kv);
  return config_.layers * config_.kv_heads * kernels_.decoder.kv_bytes(kv, config_.head_dim);
}

void LanguageModel::reserve(const StepLimits& limits) {
  limits_ = limits;
  const LanguageConfig& c = config_;
  if (c.has_learned_positions) position_row_ = Buffer(c.hidden);
  if (device_) return device_->reserve(limits);
  const int64_t rows = limits.step_tokens, queries = c.heads * c.head_dim;
  if (c.rotated > 0) {
    rotary_.fill(c.rotary, c.rotated, limits.context);
    local_rotary_.fill(c.local_rotary, c.rotated, limits.context);
  }
  ranks_ = Buffer(rows * Adapter::kMaxRanks);
  cache_ = Buffer(c.layers * limits.blocks * block_bytes() / static_cast<int64_t>(sizeof(float)));
  x_ = Buffer(rows * c.hidden);
  normed_ = Buffer(rows * c.hidden);
  qkv_ = Buffer(rows * (queries + 2 * c.kv_heads * c.head_dim));
  context_ = Buffer(rows * std::max(queries, c.hidden));
  gate_up_ = Buffer(rows * 2 * c.feed_forward);
  hidden_ = Buffer(rows * c.feed_forward);
  const Layer& layer = layers_.front();
  int64_t bytes = 0;
  for (const Linear* linear : {&layer.qkv, &layer.attended, &layer.gate_up, &layer.down})
    bytes = std::max(bytes, linear->encoded_bytes(kernels_, rows));
  bytes = std::max(bytes, output_.encoded_bytes(kernels_, limits.step_wanted));
  encoded_ = Buffer(divide_up(bytes, 4));
  // Whole cache lines apart, so that threads do not write to each other's.
  scratch_floats_ =
      divide_up(kernels_.decoder.paged_attention_scratch(c.heads / c.kv_heads, c.head_dim), 16) * 16 + 16;
  scratch_ = Buffer(scratch_floats_ * limits.threads);
}

void LanguageModel::step(const StepBatch& batch, float* logits, ThreadPool& pool) {
  const auto rows = static_cast<int64_t>(batch.ids.size());
  if (device_) {
    embed(batch, device_->embedded());
    return device_->step(batch, logits);
  }
  embed(batch, x_.data());
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    norm(pool, layer.attention_norm, rows, x_.data(), normed_.data());
    layer.qkv.forward(kernels_, pool, rows, normed_.data(), qkv_.data(), Activation::kNone, nullptr,
                      encoded_.data());
    adapt({layer.qkv, &AdapterLayer::qkv, i}, batch, normed_.data(), qkv_.data(), pool);
    place(layer, i, batch, pool);
    attend(layer, i, batch, pool);
    add_block({layer.attended, &AdapterLayer::attended, i}, layer.attended_norm, batch, context_.data(),
              pool);
    norm(pool, layer.mlp_norm, rows, x_.data(), normed_.data());
    feed_forward(layer, i, batch, pool);
    add_block({layer.down, &AdapterLayer::down, i}, layer.down_norm, batch, hidden_.data(), pool);
  }
  answer(batch, logits, pool);
}

// From normed_ to hidden_.
void LanguageModel::feed_forward(const Layer& layer, size_t index, const StepBatch& batch, ThreadPool& pool) {
  const int64_t f = config_.feed_forward;
  const auto rows = static_cast<int64_t>(batch.ids.size());
  const Adapted product{layer.gate_up, &AdapterLayer::gate_up, index};
  const bool is_plain = !config_.has_gates && !has_adapter(product, batch);
  if (is_plain)
    return layer.gate_up.forward(kernels_, pool, rows, normed_.data(), hidden_.data(), config_.activation,
                                 nullptr, encoded_.data());
  layer.gate_up.forward(kernels_, pool, rows, normed_.data(), gate_up_.data(), Activation::kNone, nullptr,
                        encoded_.data());
  adapt(product, batch, normed_.data(), gate_up_.data(), pool);
  each_rows(pool, rows, [&](int64_t begin, int64_t end) {
    if (!config_.has_gates)
      return kernels_.decoder.activate(gate_up_.data() + begin * f, (end - begin) * f, config_.activation,
                                       hidden_.data() + begin * f);
    kernels_.decoder.gate(gate_up_.data() + begin * 2 * f, end - begin, f, config_.activation,
                          hidden_.data() + begin * f);
  });
}

void LanguageModel::embed(const StepBatch& batch, float* const rows) {
  const int64_t c = config_.hidden;
  float* x = rows;
  for (const int32_t id : batch.ids) {
    embedding_(id, x);
    if (config_.embedding_scale != 1.0f)
      for (int64_t i = 0; i < c; ++i) x[i] *= config_.embedding_scale;
    x += c;
  }
  if (!config_.has_learned_positions) return;
  x = rows;
  for (const StepSpan& span : batch.spans)
    for (int64_t t = 0; t < span.tokens; ++t, x += c) {
      position_(span.position + t, position_row_.data());
      for (int64_t i = 0; i < c; ++i) x[i] += position_row_.data()[i];
    }
}

void LanguageModel::norm(ThreadPool& pool, const Norm& norm, int64_t rows, const float* x, float* y) const {
  const int64_t c = config_.hidden;
  each_rows(pool, rows,
            [&](int64_t begin, int64_t end) { norm_rows(norm, end - begin, x + begin * c, y + begin * c); });
}

void LanguageModel::norm_rows(const Norm& norm, int64_t rows, const float* x, float* y) const {
  const int64_t c = config_.hidden;
  if (config_.has_layer_norms)
    kernels_.layer_norm(x, norm.gain.data(), norm.bias.data(), config_.norm_eps, rows, c, y);
  else
    kernels_.decoder.rms_norm(x, norm.gain.data(), config_.norm_eps, rows, c, y);
}

// Queries and keys turned to their positions; keys and values to the cache.
void LanguageModel::place(const Layer& layer, size_t index, const StepBatch& batch, ThreadPool& pool) {
  const LanguageConfig& c = config_;
  const DecoderKernels& kernels = kernels_.decoder;
  const int64_t d = c.head_dim, width = (c.heads + 2 * c.kv_heads) * d;
  const RotaryTable& rotary = layer.window > 0 ? local_rotary_ : rotary_;
  char* const cache = layer_cache(index);
  each_rows(pool, static_cast<int64_t>(batch.ids.size()), [&](int64_t begin, int64_t end) {
    const StepSpan* span = batch.spans.data();
    int64_t first = 0;  // the span's first row
    for (int64_t row = begin; row < end; ++row) {
      while (row >= first + span->tokens) first += span++->tokens;
      float* const queries = qkv_.data() + row * width;
      float* const keys = queries + c.heads * d;
      if (c.has_head_norms) {
        kernels.rms_norm(queries, layer.query_norm.data(), c.norm_eps, c.heads, d, queries);
        kernels.rms_norm(keys, layer.key_norm.data(), c.norm_eps, c.kv_heads, d, keys);
      }
      const int64_t position = span->position + row - first;
      if (c.rotated > 0)
        kernels.rotate(queries, c.heads + c.kv_heads, d, rotary.half(), rotary.cosine(position),
                       rotary.sine(position));
      char* const block = cache + span->blocks[position / kCacheBlock] * block_bytes();
      for (int64_t head = 0; head < c.kv_heads; ++head)
        kernels.store_key_value(limits_.kv, keys + head * d, keys + (c.kv_heads + head) * d, d,
                                position % kCacheBlock, block + head * head_bytes());
    }
  });
}

void LanguageModel::attend(const Layer& layer, size_t index, const StepBatch& batch, ThreadPool& pool) {
  const LanguageConfig& c = config_;
  const int64_t d = c.head_dim, group = c.heads / c.kv_heads, width = (c.heads + 2 * c.kv_heads) * d;
  // Long stretches are cut so that every thread has work; a row's numbers are the same either way.
  constexpr int64_t kTokensPerTask = 64;
  int64_t tasks = 0;
  for (const StepSpan& span : batch.spans) tasks += divide_up(span.tokens, kTokensPerTask) * c.kv_heads;
  pool.parallel_for(tasks, [&](int64_t task, int thread) {
    int64_t row = 0;
    const StepSpan* span = batch.spans.data();
    for (;; ++span) {
      const int64_t own = divide_up(span->tokens, kTokensPerTask) * c.kv_heads;
      if (task < own) break;
      task -= own;
      row += span->tokens;
    }
    const int64_t head = task % c.kv_heads, begin = task / c.kv_heads * kTokensPerTask;
    kernels_.decoder.paged_attention({.q = qkv_.data() + (row + begin) * width + head * group * d,
                                      .ldq = width,
                                      .cache = layer_cache(index) + head * head_bytes(),
                                      .blocks = span->blocks,
                                      .block_bytes = block_bytes(),
                                      .type = limits_.kv,
                                      .out = context_.data() + ((row + begin) * c.heads + head * group) * d,
                                      .ldo = c.heads * d,
                                      .rows = std::min(kTokensPerTask, span->tokens - begin),
                                      .group = group,
                                      .head_dim = d,
                                      .position = span->position + begin,
                                      .window = layer.window,
                                      .scale = c.attention_scale,
                                      .soft_cap = c.attention_cap,
                                      .scratch = scratch_.data() + thread * scratch_floats_});
  });
}

bool LanguageModel::has_adapter(const Adapted& product, const StepBatch& batch) {
  return std::any_of(batch.spans.begin(), batch.spans.end(), [&](const StepSpan& span) {
    return span.adapter && (span.adapter->layers[product.layer].*product.part).down.n > 0;
  });
}

void LanguageModel::adapt(const Adapted& product, const StepBatch& batch, const float* x, float* y,
                          ThreadPool& pool) {
  int64_t row = 0;
  for (size_t i = 0; i < batch.spans.size();) {
    // Neighbours with the same adapter go together; a row's numbers are the same either way.
    const Adapter* const adapter = batch.spans[i].adapter;
    int64_t rows = 0;
    for (; i < batch.spans.size() && batch.spans[i].adapter == adapter; ++i) rows += batch.spans[i].tokens;
    if (adapter) {
      const LowRank& ranks = adapter->layers[product.layer].*product.part;
      if (ranks.down.n > 0) {
        const int64_t n = ranks.up.n;
        float* const to = y + row * n;
        if (ranks.stretch.size() > 0) {
          const float* const bias = product.linear.bias.size() > 0 ? product.linear.bias.data() : nullptr;
          each_rows(pool, rows, [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; ++t)
              for (int64_t c = 0; c < n; ++c)
                to[t * n + c] += ranks.stretch.data()[c] * (to[t * n + c] - (bias ? bias[c] : 0.0f));
          });
        }
        ranks.down.forward(kernels_, pool, rows, x + row * ranks.down.k, ranks_.data());
        ranks.up.forward(kernels_, pool, rows, ranks_.data(), to, Activation::kNone, to);
      }
    }
    row += rows;
  }
}

void LanguageModel::add_block(const Adapted& product, const Norm& after, const StepBatch& batch,
                              const float* input, ThreadPool& pool) {
  float* const x = x_.data();
  const auto rows = static_cast<int64_t>(batch.ids.size());
  const bool has_norm = after.gain.size() > 0;
  // Adding x is the last thing that happens to a row on either way, so rows without an adapter stay the same.
  if (!has_norm && !has_adapter(product, batch))
    return product.linear.forward(kernels_, pool, rows, input, x, Activation::kNone, x, encoded_.data());
  const int64_t c = config_.hidden;
  product.linear.forward(kernels_, pool, rows, input, normed_.data(), Activation::kNone, nullptr,
                         encoded_.data());
  adapt(product, batch, input, normed_.data(), pool);
  if (has_norm) norm(pool, after, rows, normed_.data(), normed_.data());
  each_rows(pool, rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * c; i < end * c; ++i) x[i] += normed_.data()[i];
  });
}

void LanguageModel::answer(const StepBatch& batch, float* logits, ThreadPool& pool) {
  const int64_t c = config_.hidden;
  int64_t row = 0, wanted = 0;
  for (const StepSpan& span : batch.spans) {
    row += span.tokens;
    for (int64_t i = row - span.wanted; i < row; ++i, ++wanted)
      norm_rows(final_norm_, 1, x_.data() + i * c, normed_.data() + wanted * c);
  }
  if (wanted == 0) return;
  output_.forward(kernels_, pool, wanted, normed_.data(), logits, Activation::kNone, nullptr,
                  encoded_.data());
  if (const float cap = config_.logit_cap; cap > 0)
    each_rows(pool, wanted, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * config_.vocabulary; i < end * config_.vocabulary; ++i)
        logits[i] = cap * std::tanh(logits[i] / cap);
    });
}

}  // namespace headrace
