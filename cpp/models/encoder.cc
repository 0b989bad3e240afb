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

// The way in which this checkpoint names its tensors.
struct Naming {
  const EncoderNames& names;
  std::string prefix;  // a bare encoder has plain names; one saved inside a model with a task head has one
                       // before them
};

Naming naming_of(const Checkpoint& checkpoint, std::string_view family) {
  const std::span<const EncoderNames> known = encoder_names(family);
  for (const EncoderNames& names : known)
    for (const char* prefix : {names.prefix, "", names.other_prefix})
      if (prefix && checkpoint.find(concat(prefix, names.word, ".weight")) &&
          checkpoint.find(concat(prefix, names.layer, "0.", names.up, ".weight")))
        return {names, prefix};
  return {known.front(), ""};  // reading will say what is missing
}

// One of a layer's matrices, or several side by side.
Linear read_linear(WeightReader& reader, const std::string& layer, std::vector<Projection> parts, int64_t k,
                   bool has_biases, const ColumnSizes& input) {
  for (Projection& part : parts) {
    part.name = layer + part.name;
    if (has_biases) reader.require(part.name + ".bias");
  }
  return reader.projection(parts, k, input);
}

// inputs: what is known of them, for each layer or for none.
std::vector<EncoderLayer> read_layers(WeightReader& reader, const EncoderConfig& config,
                                      const EncoderNames& names, const std::vector<LayerInputs>& inputs) {
  const int64_t c = config.hidden, f = config.feed_forward;
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
    std::vector<Projection> qkv{{names.query, names.key ? c : 3 * c}};
    if (names.key) qkv.insert(qkv.end(), {{names.key, c}, {names.value, c}});
    std::vector<Projection> up{{names.up, f}};
    if (config.is_gated && names.gate) up.insert(up.begin(), {names.gate, f});
    if (config.is_gated && !names.gate) up.front() = {names.up, 2 * f, names.has_up_first};
    std::string down_norm = layer + names.down_norm;
    if (config.is_pre_norm)
      down_norm = i + 1 < layers.size() ? named(i + 1) + names.down_norm : std::string(names.final_norm);
    layers[i] = {.qkv = linear(std::move(qkv), c, input.qkv),
                 .attended = linear({{names.attended, c}}, c, input.attended),
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

std::unique_ptr<Encoder> Encoder::load(const ModelPath& directory, const Kernels& kernels,
                                       const LoadOptions& options) {
  std::unique_ptr<Encoder> model(new Encoder(kernels));
  const ModelPath files = transformer_directory(directory);
  model->config_ = read_encoder_config(files);
  const HeadConfig head = read_head_config(directory, options.task);
  const EncoderConfig& config = model->config_;
  const int64_t c = config.hidden;

  const Checkpoint checkpoint = Checkpoint::open(files);
  const auto [names, prefix] = naming_of(checkpoint, config.family);
  WeightReader reader(checkpoint, prefix, kernels);
  model->load_embeddings(names, reader);
  model->attention_.load(config, names, reader, kernels);
  const Precision precision = precision_by_name(options.precision, kernels);
  std::vector<LayerInputs> inputs;
  if (precision == Precision::kInt8) {
    WeightReader plain(checkpoint, prefix, kernels);
    model->layers_ = read_layers(plain, config, names, inputs);
    inputs = model->observe_inputs();
  }
  reader.use(precision);
  model->layers_ = read_layers(reader, config, names, inputs);
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
    model->head_ = Head::load(head,
                              {.hidden = c,
                               .vocabulary = config.vocabulary,
                               .embedding = config.embedding,
                               .norm_eps = config.norm_eps,
                               .norm_has_bias = config.norm_has_bias},
                              whole, kernels);
    model->head_->describe(info);
    info.parameters += whole.parameters();
  }
  info.weight_bytes = info.parameters * kFloatBytes + packed_bytes;
  return model;
}

void Encoder::load_embeddings(const EncoderNames& names, WeightReader& reader) {
  const int64_t c = config_.hidden, e = config_.embedding;
  const auto table = [&](const char* name, int64_t rows) {
    return reader.tensor(std::string(name) + ".weight", {rows, e});
  };
  word_ = table(names.word, config_.vocabulary);
  position_ = config_.has_position_embeddings ? table(names.position, config_.positions) : Buffer(e);
  type_ = config_.types > 0 ? table(names.type, config_.types) : Buffer(e);
  embedding_norm_ = reader.layer_norm(names.embedding_norm, e, config_.norm_eps, config_.norm_has_bias);
  // ALBERT has one even between equal widths.
  if (names.projection && (e != c || config_.family == "albert"))
    projection_ = reader.linear(names.projection, c, e);
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
  Buffer input(batch.tokens() * config_.hidden);
  std::copy(x_.data(), x_.data() + input.size(), input.data());
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

void Encoder::reserve(int64_t max_batch_tokens, int threads) {
  const int64_t c = config_.hidden;
  x_ = Buffer(max_batch_tokens * c);
  if (projection_) embedded_ = Buffer(max_batch_tokens * config_.embedding);
  qkv_ = Buffer(max_batch_tokens * 3 * c);
  context_ = Buffer(max_batch_tokens * c);
  rows_.reserve(kernels_, layers_.front(), max_batch_tokens, threads);
  attention_.reserve(max_batch_tokens, threads);
  if (head_) head_->reserve(max_batch_tokens);
  if (sentence_) sentence_->reserve(max_batch_tokens);
}

void Encoder::forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) {
  const int64_t tokens = batch.tokens();
  embed(batch, pool);
  rows_.project(layer(0), pool, tokens, x_.data(), qkv_.data());
  for (int64_t i = 0; i < config_.layers; ++i) {
    attention_.run(i, batch, pool, qkv_.data(), context_.data());
    const EncoderLayer* const next = i + 1 < config_.layers ? &layer(i + 1) : nullptr;
    rows_.finish(layer(i), next, pool, tokens, context_.data(), x_.data(), qkv_.data());
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
    // One row, of zeros, stands for all where there are none.
    const int64_t step = config_.has_position_embeddings ? e : 0;
    const float* const positions = position_.data() + (config_.first_position - begin) * step;
    for (int64_t i = begin; i < end; ++i)
      kernels_.add3(word_.data() + batch.ids[i] * e, positions + i * step, type_.data() + batch.type(i) * e,
                    e, embedded + i * e);
    embedding_norm_.run(kernels_, end - begin, embedded + begin * e, embedded + begin * e);
  });
  if (projection_) projection_->forward(kernels_, pool, batch.tokens(), embedded, x_.data());
}

}  // namespace headrace
