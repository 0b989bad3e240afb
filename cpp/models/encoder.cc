#include "models/encoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/cpu.h"
#include "base/error.h"
#include "kernels/devices.h"
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
  const bool on_device = options.device != "cpu";
  std::unique_ptr<cuda::DeviceTable> device;
  if (on_device) device = open_device(options.device);  // before the work of reading
  const Kernels& layout = on_device ? device_layout() : kernels;
  WeightReader plain(checkpoint, prefix, kernels), reader(checkpoint, prefix, layout);
  model->load_embeddings(names, plain);
  EncoderStack& stack = model->stack_;
  stack.load_attention(config, names, plain);
  int64_t parameters = plain.parameters();
  const Precision precision = precision_by_name(options.precision, layout);
  std::vector<LayerInputs> inputs;
  if (precision == Precision::kInt8) {
    stack.load_layers(names, plain);
    inputs = model->observe_inputs();
  }
  reader.use(precision);
  stack.load_layers(names, reader, inputs);

  ModelInfo& info = model->info_;
  info.task = head.task;
  info.activation = head.activation;
  info.architecture = config.family;
  info.isa = layout.name;
  info.precision = precision_name(precision);
  info.dimensions = c;
  info.max_tokens = config.longest();
  info.vocabulary = config.vocabulary;
  info.types = std::max<int64_t>(config.types, 1);
  info.parameters = parameters + reader.parameters();
  if (head.task == "embed") {
    if (const auto longest = read_text_settings(transformer_directory(directory)).max_tokens)
      info.max_tokens = std::min(info.max_tokens, *longest);
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
  info.weight_bytes = info.parameters * kFloatBytes + stack.packed_bytes();
  if (on_device) {
    if (model->projection_) {
      WeightReader again(checkpoint, prefix, layout);
      model->projection_ = again.linear(names.projection, c, config.embedding);
    }
    model->move_to(std::move(device));
  }
  return model;
}

void Encoder::move_to(std::unique_ptr<cuda::DeviceTable> device) {
  device_ = std::make_unique<DeviceEncoder>(
      std::move(device),
      DeviceEncoder::Parts{config_, word_, position_, type_, embedding_norm_,
                           projection_ ? &*projection_ : nullptr, stack_.first_norm(), stack_.layers()});
  for (Buffer* const each : {&word_, &position_, &type_}) *each = Buffer();
  projection_.reset();
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
  embed(batch, pool);
  return stack_.observe(batch, pool);
}

void Encoder::reserve(int64_t max_batch_tokens, int threads) {
  if (device_) {
    device_->reserve(max_batch_tokens);
    ones_.resize(static_cast<size_t>(max_batch_tokens) + 1);
    std::iota(ones_.begin(), ones_.end(), 0);
  }
  if (projection_) embedded_ = Buffer(max_batch_tokens * config_.embedding);
  if (!device_) stack_.reserve(max_batch_tokens, threads);
  if (head_) head_->reserve(max_batch_tokens);
  if (sentence_) sentence_->reserve(max_batch_tokens);
}

void Encoder::forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) {
  if (device_) return forward_on_device(batch, outputs, pool);
  embed(batch, pool);
  stack_.run(batch, pool);
  if (head_)
    head_->forward(batch, stack_.x(), outputs, pool);
  else
    sentence_->forward(batch, stack_.x(), outputs, pool);
}

// Where one row of each sequence is all that is looked at, one row is all that comes from the device: then a
// batch of sequences of one token has the same answers.
void Encoder::forward_on_device(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) {
  const HiddenRows rows = head_ ? head_->reads() : sentence_->reads(batch);
  const float* const states = device_->run(batch, rows);
  TokenBatch rest = batch;
  if (rows != HiddenRows::kAll) {
    const auto sequences = static_cast<size_t>(batch.sequences());
    rest = {.ids = batch.ids.first(sequences), .cu_lengths = std::span(ones_).first(sequences + 1)};
  }
  if (head_)
    head_->forward(rest, states, outputs, pool);
  else
    sentence_->forward(rest, states, outputs, pool);
}

void Encoder::embed(const TokenBatch& batch, ThreadPool& pool) {
  const int64_t e = config_.embedding;
  float* const embedded = projection_ ? embedded_.data() : stack_.x();
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
  if (projection_) projection_->forward(kernels_, pool, batch.tokens(), embedded, stack_.x());
}

}  // namespace headrace
