#include "models/vision.h"

#include <algorithm>

#include "base/cpu.h"
#include "base/error.h"

namespace headrace {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

constexpr EncoderNames kVit{.prefix = "vit.",
                            .position = "embeddings.position_embeddings",
                            .layer = "encoder.layer.",
                            .query = "attention.attention.query",
                            .key = "attention.attention.key",
                            .value = "attention.attention.value",
                            .attended = "attention.output.dense",
                            .attended_norm = "layernorm_after",
                            .up = "intermediate.dense",
                            .down = "output.dense",
                            .down_norm = "layernorm_before",
                            .final_norm = "layernorm",
                            .has_biases = false};  // of query, key and value by qkv_bias; the others always

constexpr EncoderNames kClip{.prefix = "vision_model.",
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
                             .final_norm = "post_layernorm"};

bool is_vit(const VisionConfig& config) { return config.encoder.family == "vit"; }

// A bare ViTModel or SiglipVisionModel has plain names.
std::string prefix_of(const Checkpoint& checkpoint, const VisionConfig& config) {
  if (is_vit(config)) return checkpoint.find("vit.embeddings.cls_token") ? kVit.prefix : "";
  return checkpoint.find(concat(kClip.prefix, kClip.position)) ? kClip.prefix : "";
}

}  // namespace

std::unique_ptr<Vision> Vision::load(const ModelPath& directory, const std::string& family,
                                     const Kernels& kernels, const LoadOptions& options) {
  const VisionConfig config = read_vision_config(directory, family);
  std::unique_ptr<Vision> model(new Vision(kernels, read_picture_transform(directory, config)));
  model->config_ = config;
  const HeadConfig head = read_head_config(directory, options.task);
  if (head.task == "embed" && is_siglip(family) && !config.has_attention_pool)
    throw Error(ErrorKind::kUnsupported, concat(directory.name(),
                                                ": vision_use_head is false: such a tower has no vector of a "
                                                "picture; use one with its head"));
  const EncoderNames& names = is_vit(config) ? kVit : kClip;
  const Checkpoint checkpoint = Checkpoint::open(directory);
  const std::string prefix = prefix_of(checkpoint, config);
  WeightReader reader(checkpoint, prefix, kernels), whole(checkpoint, "", kernels);
  model->load_embeddings(reader);
  model->stack_.load_attention(config.encoder, names, reader);
  const Precision precision = precision_by_name(options.precision, kernels);
  std::vector<LayerInputs> inputs;
  if (precision == Precision::kInt8) {
    WeightReader plain(checkpoint, prefix, kernels);
    model->stack_.load_layers(names, plain);
    inputs = model->observe_inputs();
  }
  reader.use(precision);
  model->stack_.load_layers(names, reader, inputs);
  const int64_t c = config.encoder.hidden;
  ModelInfo& info = model->info_;
  if (head.task == "embed" && is_siglip(family)) {
    WeightReader plain(checkpoint, prefix, kernels);
    model->attention_pool_.emplace(config.encoder, plain, kernels);
    info.parameters += plain.parameters();
  } else if (head.task == "embed") {
    std::optional<Linear> projection;
    if (config.projection > 0)
      projection = whole.linear_of("visual_projection.weight", "", config.projection, c);
    model->pooled_.emplace(kernels, c, std::move(projection));
  } else {
    model->head_ = Head::load(head, {.hidden = c, .norm_eps = config.encoder.norm_eps}, whole, kernels);
  }
  info.isa = kernels.name;
  info.precision = precision_name(precision);
  info.parameters += reader.parameters() + whole.parameters();
  model->describe(head);
  return model;
}

void Vision::describe(const HeadConfig& head) {
  info_.task = head.task;
  info_.activation = head.activation;
  info_.architecture = config_.encoder.family;
  info_.dimensions = config_.encoder.hidden;
  if (pooled_) info_.dimensions = pooled_->dimensions();
  if (head_) head_->describe(info_);
  info_.similarity = "cosine";
  info_.reads = false;
  info_.picture_tokens = info_.max_tokens = config_.encoder.positions;
  info_.picture_width = info_.picture_height = config_.side;
  info_.weight_bytes = info_.parameters * kFloatBytes + stack_.packed_bytes();
}

void Vision::load_embeddings(WeightReader& reader) {
  const int64_t c = config_.encoder.hidden, positions = config_.encoder.positions;
  const bool vit = is_vit(config_);
  patches_ = reader.patches(vit ? "embeddings.patch_embeddings.projection" : "embeddings.patch_embedding", c,
                            3, config_.patch, config_.has_patch_bias);
  const Buffer all =
      vit ? reader.tensor(kVit.position, {1, positions, c}) : reader.tensor(kClip.position, {positions, c});
  const int64_t patches = config_.patches() * c;
  if (config_.has_class_token) {
    first_ = vit ? reader.tensor("embeddings.cls_token", {1, 1, c})
                 : reader.tensor("embeddings.class_embedding", {c});
    for (int64_t i = 0; i < c; ++i) first_.data()[i] += all.data()[i];
  }
  position_ = Buffer(patches);
  std::copy(all.data() + all.size() - patches, all.data() + all.size(), position_.data());
  if (config_.has_embedding_norm)
    embedding_norm_ =
        reader.layer_norm("pre_layrnorm", c, config_.encoder.norm_eps);  // as it is spelled there
}

// Pictures of blurred noise: each patch has colours of its own, and each pixel differs from them a little.
std::vector<LayerInputs> Vision::observe_inputs() {
  const int64_t tokens = config_.encoder.positions, sequences = std::max<int64_t>(2, 768 / tokens);
  const int64_t numbers = patches_.k, area = numbers / 3;
  std::vector<int32_t> ids(static_cast<size_t>(sequences * tokens)), cu_lengths{0};
  const int64_t patches = config_.patches();
  Buffer pixels(sequences * patches * numbers);
  std::vector<const float*> pictures;
  uint64_t state = 1;
  const auto random = [&] {
    state = state * 6364136223846793005 + 1442695040888963407;  // Knuth's MMIX
    return static_cast<float>(static_cast<double>(state >> 33) / static_cast<double>(1u << 31) * 2 - 1);
  };
  float colour = 0;
  for (int64_t i = 0; i < pixels.size(); ++i) {
    if (i % area == 0) colour = 1.6f * random();
    pixels.data()[i] = colour + 0.4f * random();
  }
  for (int64_t i = 0; i < sequences; ++i) {
    pictures.push_back(pixels.data() + i * patches * numbers);
    cu_lengths.push_back(static_cast<int32_t>((i + 1) * tokens));
  }
  const TokenBatch batch{.ids = ids, .cu_lengths = cu_lengths, .pictures = pictures};
  ThreadPool pool(available_cpus());
  stack_.reserve(batch.tokens(), pool.threads());
  embed(batch, pool);
  return stack_.observe(batch, pool);
}

void Vision::reserve(int64_t max_batch_tokens, int threads) {
  stack_.reserve(max_batch_tokens, threads);
  if (head_) head_->reserve(max_batch_tokens);
  if (pooled_) pooled_->reserve(max_batch_tokens);
  if (attention_pool_) attention_pool_->reserve(max_batch_tokens, threads);
}

void Vision::embed(const TokenBatch& batch, ThreadPool& pool) {
  const int64_t c = config_.encoder.hidden, patches = config_.patches();
  pool.parallel_for(batch.sequences(), [&](int64_t sequence, int) {
    float* const x = stack_.x() + batch.cu_lengths[static_cast<size_t>(sequence)] * c;
    std::copy(first_.data(), first_.data() + first_.size(), x);
    patches_.run(kernels_, patches, batch.picture(sequence), nullptr,
                 {.f32 = x + first_.size(), .residual = position_.data()});
    if (embedding_norm_) embedding_norm_->run(kernels_, config_.encoder.positions, x, x);
  });
}

void Vision::forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) {
  embed(batch, pool);
  stack_.run(batch, pool);
  if (head_) return head_->forward(batch, stack_.x(), outputs, pool);
  if (attention_pool_) return attention_pool_->forward(batch, stack_.x(), outputs, pool);
  pooled_->forward(
      stack_.x(), batch.sequences(),
      [&](int64_t sequence) { return batch.cu_lengths[static_cast<size_t>(sequence)]; }, outputs, pool);
}

}  // namespace headrace
