#include "models/text_tower.h"

#include <algorithm>

#include "base/cpu.h"
#include "base/error.h"
#include "models/head_config.h"
#include "tensor/checkpoint.h"

namespace headrace {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

constexpr EncoderNames kNames{.prefix = "text_model.",
                              .word = "embeddings.token_embedding.weight",
                              .position = "embeddings.position_embedding.weight",
                              .layer = "encoder.layers.",
                              .query = "self_attn.q_proj",
                              .key = "self_attn.k_proj",
                              .value = "self_attn.v_proj",
                              .attended = "self_attn.out_proj",
                              .attended_norm = "layer_norm2",
                              .up = "mlp.fc1",
                              .down = "mlp.fc2",
                              .down_norm = "layer_norm1",
                              .final_norm = "final_layer_norm"};

// A SiglipTextModel saved alone has plain names.
std::string prefix_of(const Checkpoint& checkpoint) {
  return checkpoint.find(concat(kNames.prefix, kNames.word)) ? kNames.prefix : "";
}

// OpenAI's own config.json says 2, which is not the end's id: it is the largest then.
constexpr int64_t kLargestIsEnd = 2;

}  // namespace

std::unique_ptr<TextTower> TextTower::load(const ModelPath& directory, const std::string& family,
                                           const Kernels& kernels, const LoadOptions& options) {
  if (!options.task.empty() && options.task != "embed")
    throw Error(ErrorKind::kInvalidArgument, concat("task='", options.task, "': ", directory.name(),
                                                    " describes a model to embed; leave the task out"));
  std::unique_ptr<TextTower> model(new TextTower(kernels));
  model->config_ = read_text_tower_config(directory, family);
  const EncoderConfig& encoder = model->config_.encoder;
  const int64_t c = encoder.hidden;
  const Checkpoint checkpoint = Checkpoint::open(directory);
  const std::string prefix = prefix_of(checkpoint);
  WeightReader reader(checkpoint, prefix, kernels), whole(checkpoint, "", kernels);
  model->word_ = reader.tensor(kNames.word, {encoder.vocabulary, c});
  model->position_ = reader.tensor(kNames.position, {encoder.positions, c});
  model->nothing_ = Buffer(c);
  model->stack_.load_attention(encoder, kNames, reader);
  const Precision precision = precision_by_name(options.precision, kernels);
  std::vector<LayerInputs> inputs;
  if (precision == Precision::kInt8) {
    WeightReader plain(checkpoint, prefix, kernels);
    model->stack_.load_layers(kNames, plain);
    inputs = model->observe_inputs();
  }
  reader.use(precision);
  model->stack_.load_layers(kNames, reader, inputs);
  const bool siglip = is_siglip(family);
  model->pooled_.emplace(kernels, c,
                         whole.linear_of(siglip ? prefix + "head.weight" : "text_projection.weight",
                                         siglip ? prefix + "head.bias" : "", model->config_.projection, c));

  ModelInfo& info = model->info_;
  info.task = "embed";
  info.activation = "identity";
  info.architecture = family;
  info.isa = kernels.name;
  info.precision = precision_name(precision);
  info.dimensions = model->pooled_->dimensions();
  info.similarity = "cosine";
  info.max_tokens = encoder.longest();
  info.pads = siglip;
  if (siglip) info.pad_token = read_special_token(directory, "pad_token");
  info.vocabulary = encoder.vocabulary;
  info.parameters = reader.parameters() + whole.parameters();
  info.weight_bytes = info.parameters * kFloatBytes + model->stack_.packed_bytes();
  return model;
}

// Tokens drawn from the vocabulary, as of encoders of texts.
std::vector<LayerInputs> TextTower::observe_inputs() {
  const int64_t length = std::min<int64_t>(48, config_.encoder.longest());
  std::vector<int32_t> ids, cu_lengths{0};
  uint64_t state = 1;
  for (int64_t i = 0; i < 16 * length; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;  // Knuth's MMIX
    ids.push_back(static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(config_.encoder.vocabulary)));
    if ((i + 1) % length == 0) cu_lengths.push_back(static_cast<int32_t>(i + 1));
  }
  const TokenBatch batch{ids, cu_lengths};
  ThreadPool pool(available_cpus());
  stack_.reserve(batch.tokens(), pool.threads());
  embed(batch, pool);
  return stack_.observe(batch, pool);
}

void TextTower::reserve(int64_t max_batch_tokens, int threads) {
  stack_.reserve(max_batch_tokens, threads);
  pooled_->reserve(max_batch_tokens);
}

void TextTower::embed(const TokenBatch& batch, ThreadPool& pool) {
  const int64_t c = config_.encoder.hidden;
  pool.parallel_for(batch.sequences(), [&](int64_t sequence, int) {
    const int64_t begin = batch.cu_lengths[static_cast<size_t>(sequence)];
    const int64_t end = batch.cu_lengths[static_cast<size_t>(sequence) + 1];
    for (int64_t i = begin; i < end; ++i)
      kernels_.add3(word_.data() + batch.ids[static_cast<size_t>(i)] * c, position_.data() + (i - begin) * c,
                    nothing_.data(), c, stack_.x() + i * c);
  });
}

// The row of the text's first end, or its first row where it has none; of SigLIP the last.
int64_t TextTower::end_of(const TokenBatch& batch, int64_t sequence) const {
  const int64_t begin = batch.cu_lengths[static_cast<size_t>(sequence)];
  if (info_.pads) return batch.cu_lengths[static_cast<size_t>(sequence) + 1] - 1;
  const auto first = batch.ids.begin() + begin;
  const auto last = batch.ids.begin() + batch.cu_lengths[static_cast<size_t>(sequence) + 1];
  const auto found = config_.end == kLargestIsEnd ? std::max_element(first, last)
                                                  : std::find(first, last, static_cast<int32_t>(config_.end));
  return begin + (found == last ? 0 : found - first);
}

void TextTower::forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) {
  embed(batch, pool);
  stack_.run(batch, pool);
  pooled_->forward(
      stack_.x(), batch.sequences(), [&](int64_t sequence) { return end_of(batch, sequence); }, outputs,
      pool);
}

}  // namespace headrace
