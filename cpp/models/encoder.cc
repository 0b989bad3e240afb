#include "models/encoder.h"

#include <algorithm>
#include <cmath>

#include "base/cpu.h"
#include "base/error.h"
#include "models/encoder_names.h"
#include "models/weights.h"
#include "tensor/checkpoint.h"

namespace headrace {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

// inputs: what is known of them, for each layer or for none.
std::vector<EncoderLayer> read_layers(WeightReader& reader, const EncoderConfig& config,
                                      const std::vector<LayerInputs>& inputs) {
  const int64_t c = config.hidden, f = config.feed_forward;
  const EncoderNames& names = *encoder_names(config.family);
  std::vector<EncoderLayer> layers(static_cast<size_t>(config.layers));
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerInputs input = inputs.empty() ? LayerInputs() : inputs[i];
    const std::string layer = concat(names.layer, i, ".");
    const auto norm = [&](const char* name) { return reader.layer_norm(layer + name, c, config.norm_eps); };
    layers[i] = {
        .qkv = reader.linear({layer + names.query, layer + names.key, layer + names.value}, c, c, input.qkv),
        .attended = reader.linear(layer + names.attended, c, c, input.attended),
        .attended_norm = norm(names.attended_norm),
        .up = reader.linear(layer + names.up, f, c, input.up),
        .down = reader.linear(layer + names.down, c, f, input.down),
        .down_norm = norm(names.down_norm),
    };
  }
  return layers;
}

}  // namespace

std::unique_ptr<Encoder> Encoder::load(const std::string& directory, const Kernels& kernels,
                                       const LoadOptions& options) {
  std::unique_ptr<Encoder> model(new Encoder(kernels));
  const std::string files = transformer_directory(directory);
  model->config_ = read_encoder_config(files);
  const HeadConfig head = read_head_config(directory, options.task);
  const EncoderConfig& config = model->config_;
  const int64_t c = config.hidden;

  const Checkpoint checkpoint = Checkpoint::open(files);
  // A bare encoder has plain names; one saved inside a model with a task head has them under "bert.".
  const std::string head_prefix = encoder_names(config.family)->prefix;
  const std::string prefix =
      checkpoint.find(head_prefix + "embeddings.word_embeddings.weight") ? head_prefix : "";
  WeightReader reader(checkpoint, prefix, kernels);
  const int64_t e = config.embedding;
  model->word_ = reader.tensor("embeddings.word_embeddings.weight", {config.vocabulary, e});
  model->position_ = reader.tensor("embeddings.position_embeddings.weight", {config.positions, e});
  model->type_ = config.types > 0
                     ? reader.tensor("embeddings.token_type_embeddings.weight", {config.types, e})
                     : Buffer(e);
  model->embedding_norm_ = reader.layer_norm("embeddings.LayerNorm", e, config.norm_eps);
  if (e != c) model->projection_ = reader.linear("embeddings_project", c, e);
  const Precision precision = precision_by_name(options.precision, kernels);
  std::vector<LayerInputs> inputs;
  if (precision == Precision::kInt8) {
    WeightReader plain(checkpoint, prefix, kernels);
    model->layers_ = read_layers(plain, config, inputs);
    inputs = model->observe_inputs();
  }
  reader.use(precision);
  model->layers_ = read_layers(reader, config, inputs);
  int64_t packed_bytes = 0;  // more, or less, than one float for each parameter
  for (const EncoderLayer& layer : model->layers_)
    for (const Linear* linear : {&layer.qkv, &layer.attended, &layer.up, &layer.down})
      packed_bytes += (linear->packed.size() - linear->n * linear->k) * kFloatBytes;

  ModelInfo& info = model->info_;
  info.task = head.task;
  info.activation = head.activation;
  info.architecture = config.family;
  info.isa = kernels.name;
  info.precision = precision_name(precision);
  info.dimensions = c;
  info.max_tokens = config.longest();
  info.vocabulary = config.vocabulary;
  info.types = std::max<int64_t>(config.types, 1);
  info.parameters = reader.parameters();
  if (head.task == "embed") {
    model->sentence_ = Sentence::load(directory, c, kernels);
    model->sentence_->describe(info);
  } else {
    WeightReader whole(checkpoint, "", kernels);
    model->head_ = Head::load(
        head, {.hidden = c, .vocabulary = config.vocabulary, .embedding = e, .norm_eps = config.norm_eps},
        whole, kernels);
    model->head_->describe(info);
    info.parameters += whole.parameters();
  }
  info.weight_bytes = info.parameters * kFloatBytes + packed_bytes;
  return model;
}

// Tokens drawn from the vocabulary, but for its first ones, which are special or unused in many.
std::vector<LayerInputs> Encoder::observe_inputs() {
  constexpr int64_t kSequences = 16, kLongest = 48;
  const int64_t length = std::min(kLongest, config_.longest());
  std::vector<int32_t> ids, cu_lengths{0};
  uint64_t state = 1;
  for (int64_t i = 0; i < kSequences * length; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;  // Knuth's MMIX
    const auto first = static_cast<uint64_t>(config_.vocabulary / 16);
    ids.push_back(
        static_cast<int32_t>(first + (state >> 33) % (static_cast<uint64_t>(config_.vocabulary) - first)));
    if ((i + 1) % length == 0) cu_lengths.push_back(static_cast<int32_t>(i + 1));
  }
  const TokenBatch batch{ids, cu_lengths};
  ThreadPool pool(available_cpus());
  reserve(batch.tokens(), pool.threads());
  std::vector<LayerInputs> inputs(layers_.size());
  embed(batch, pool);
  for (size_t i = 0; i < layers_.size(); ++i) {
    add_sizes(x_.data(), batch.tokens(), config_.hidden, &inputs[i].qkv);
    rows_.project(layers_[i], pool, batch.tokens(), x_.data(), qkv_.data());
    attend(batch, pool);
    rows_.observe(layers_[i], pool, batch.tokens(), context_.data(), x_.data(), &inputs[i]);
  }
  return inputs;
}

void Encoder::reserve(int64_t max_batch_tokens, int threads) {
  const int64_t c = config_.hidden;
  x_ = Buffer(max_batch_tokens * c);
  if (projection_) embedded_ = Buffer(max_batch_tokens * config_.embedding);
  qkv_ = Buffer(max_batch_tokens * 3 * c);
  context_ = Buffer(max_batch_tokens * c);
  rows_.reserve(kernels_, layers_.front(), max_batch_tokens, threads);
  const int64_t longest = std::min(max_batch_tokens, config_.longest());
  // Whole cache lines apart, so that threads do not write to each other's.
  scratch_floats_ = (kernels_.attention_scratch(longest, c / config_.heads) + 31) / 16 * 16;
  scratch_ = Buffer(scratch_floats_ * threads);
  if (head_) head_->reserve(max_batch_tokens);
  if (sentence_) sentence_->reserve(max_batch_tokens);
}

void Encoder::forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) {
  const int64_t tokens = batch.tokens();
  embed(batch, pool);
  rows_.project(layers_.front(), pool, tokens, x_.data(), qkv_.data());
  for (size_t i = 0; i < layers_.size(); ++i) {
    attend(batch, pool);
    const EncoderLayer* const next = i + 1 < layers_.size() ? &layers_[i + 1] : nullptr;
    rows_.finish(layers_[i], next, pool, tokens, context_.data(), x_.data(), qkv_.data());
  }
  if (head_)
    head_->forward(batch, x_.data(), outputs, pool);
  else
    sentence_->forward(batch, x_.data(), outputs, pool);
}

void Encoder::embed(const TokenBatch& batch, ThreadPool& pool) {
  const int64_t e = config_.embedding;
  float* const embedded = projection_ ? embedded_.data() : x_.data();
  pool.parallel_for(batch.sequences(), [&](int64_t sequence, int) {
    const int64_t begin = batch.cu_lengths[sequence], end = batch.cu_lengths[sequence + 1];
    const float* const positions = position_.data() + (config_.first_position - begin) * e;
    for (int64_t i = begin; i < end; ++i)
      kernels_.add3(word_.data() + batch.ids[i] * e, positions + i * e, type_.data() + batch.type(i) * e, e,
                    embedded + i * e);
    embedding_norm_.run(kernels_, end - begin, embedded + begin * e, embedded + begin * e);
  });
  if (projection_) projection_->forward(kernels_, pool, batch.tokens(), embedded, x_.data());
}

void Encoder::attend(const TokenBatch& batch, ThreadPool& pool) {
  const int64_t c = config_.hidden, heads = config_.heads, head_dim = c / heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  pool.parallel_for(batch.sequences() * heads, [&](int64_t task, int thread) {
    const int64_t sequence = task / heads, head = task % heads;
    const int64_t begin = batch.cu_lengths[sequence];
    const float* q = qkv_.data() + begin * 3 * c + head * head_dim;
    kernels_.attention({.q = q,
                        .k = q + c,
                        .v = q + 2 * c,
                        .ld = 3 * c,
                        .out = context_.data() + begin * c + head * head_dim,
                        .ldo = c,
                        .length = batch.cu_lengths[sequence + 1] - begin,
                        .head_dim = head_dim,
                        .scale = scale,
                        .scratch = scratch_.data() + thread * scratch_floats_});
  });
}

}  // namespace headrace
