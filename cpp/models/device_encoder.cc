#include "models/device_encoder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace headrace {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

bool is_one_of(int64_t value, std::initializer_list<int64_t> all) {
  return std::find(all.begin(), all.end(), value) != all.end();
}

}  // namespace

DeviceEncoder::DeviceEncoder(std::unique_ptr<cuda::DeviceTable> device, const Parts& parts)
    : device_(std::move(device)), config_(parts.config), head_dim_(config_.hidden / config_.heads) {
  check();
  cuda::DeviceTable& on = *device_;
  word_ = to_device(on, parts.word);
  if (config_.has_position_embeddings) position_ = to_device(on, parts.position);
  if (config_.types > 0) type_ = to_device(on, parts.type);
  embedding_norm_ = upload(parts.embedding_norm);
  if (parts.projection) projection_.emplace(on, *parts.projection);
  if (parts.first_norm) first_norm_ = upload(*parts.first_norm);
  is_bf16_ = parts.layers.front().qkv.precision == Precision::kBf16;
  for (EncoderLayer& each : parts.layers) {
    layers_.push_back({.qkv = DeviceLinear(on, each.qkv),
                       .attended = DeviceLinear(on, each.attended),
                       .up = DeviceLinear(on, each.up),
                       .down = DeviceLinear(on, each.down),
                       .attended_norm = upload(each.attended_norm),
                       .down_norm = upload(each.down_norm)});
    each = {};  // its memory goes back
  }
  if (config_.attention_positions != AttentionPositions::kRotary) return;
  angles_ = upload(config_.rotary);
  if (std::any_of(config_.windows.begin(), config_.windows.end(), [](int64_t each) { return each > 0; }))
    local_angles_ = upload(config_.local_rotary);
}

void DeviceEncoder::check() const {
  if (!is_one_of(head_dim_, {32, 64, 128}))
    throw Error(ErrorKind::kUnsupported, concat("heads of ", head_dim_,
                                                " numbers on a device: 32, 64 and 128 are supported; use "
                                                "device='cpu'"));
  if (config_.attention_positions != AttentionPositions::kNone &&
      config_.attention_positions != AttentionPositions::kRotary)
    throw Error(ErrorKind::kUnsupported,
                concat("a model of type '", config_.family,
                       "' on a device: attention with biases runs on the processor only; use device='cpu'"));
}

DeviceEncoder::Norm DeviceEncoder::upload(const LayerNorm& norm) {
  return {to_device(*device_, norm.gain), to_device(*device_, norm.bias), norm.eps};
}

DeviceEncoder::Angles DeviceEncoder::upload(const RotaryConfig& rotary) {
  RotaryTable table;
  table.fill(rotary, head_dim_, config_.longest());
  const int64_t half = table.half();
  Buffer cosine(config_.longest() * half), sine(config_.longest() * half);
  for (int64_t i = 0; i < config_.longest(); ++i) {
    std::copy(table.cosine(i), table.cosine(i) + half, cosine.data() + i * half);
    std::copy(table.sine(i), table.sine(i) + half, sine.data() + i * half);
  }
  return {half, to_device(*device_, cosine), to_device(*device_, sine)};
}

void DeviceEncoder::reserve(int64_t max_batch_tokens) {
  cuda::DeviceTable& on = *device_;
  const int64_t rows = max_batch_tokens, c = config_.hidden, f = config_.feed_forward;
  host_numbers_ = HostArray<int32_t>(on, 4 * rows + 1);
  numbers_ = DeviceArray<int32_t>(on, 4 * rows + 1);
  if (projection_) embedded_ = DeviceArray<float>(on, rows * config_.embedding);
  x_ = DeviceArray<float>(on, rows * c);
  normed_ = DeviceArray<float>(on, rows * c);
  // Turned in f32, and everything that need not be rounded stays so.
  if (!is_bf16_ || angles_.half > 0) qkv_ = DeviceArray<float>(on, rows * 3 * c);
  if (is_bf16_) {
    bf16_qkv_ = DeviceArray<cuda::Bf16>(on, rows * 3 * c);
    bf16_context_ = DeviceArray<cuda::Bf16>(on, rows * c);
  } else {
    context_ = DeviceArray<float>(on, rows * c);
  }
  if (is_bf16_ && !config_.is_gated)
    bf16_hidden_ = DeviceArray<cuda::Bf16>(on, rows * f);
  else
    hidden_ = DeviceArray<float>(on, rows * layers_.front().up.n());
  if (config_.is_gated) gated_ = DeviceArray<float>(on, rows * f);
  int64_t bytes = 0;
  for (const DeviceLinear* each : {&layers_.front().qkv, &layers_.front().down})
    bytes = std::max(bytes, each->row_bytes());
  encoded_ = {DeviceArray<char>(on, rows * bytes), DeviceArray<float>(on, rows)};
  states_ = HostArray<float>(on, rows * c);
}

void DeviceEncoder::norm(const Norm& norm, int64_t rows, const float* x, float* y) {
  device_->layer_norm(x, norm.gain.data(), norm.bias.data(), norm.eps, rows, norm.gain.size(), y);
}

void DeviceEncoder::upload(const TokenBatch& batch) {
  tokens_ = batch.tokens();
  sequences_ = batch.sequences();
  longest_ = 0;
  int32_t* const ids = host_numbers_.data();
  int32_t* const positions = ids + tokens_;
  int32_t* const types = positions + tokens_;
  std::copy(batch.ids.begin(), batch.ids.end(), ids);
  std::copy(batch.cu_lengths.begin(), batch.cu_lengths.end(), types + tokens_);
  for (int64_t b = 0; b < sequences_; ++b) {
    const int64_t begin = batch.cu_lengths[static_cast<size_t>(b)];
    const int64_t length = batch.cu_lengths[static_cast<size_t>(b) + 1] - begin;
    longest_ = std::max(longest_, length);
    for (int64_t i = 0; i < length; ++i) {
      positions[begin + i] = static_cast<int32_t>(i);
      types[begin + i] = batch.type(begin + i);
    }
  }
  device_->upload(numbers_.data(), ids, (3 * tokens_ + sequences_ + 1) * 4);
}

void DeviceEncoder::embed() {
  float* const to = projection_ ? embedded_.data() : x_.data();
  const float* const positions =
      position_.data() ? position_.data() + config_.first_position * config_.embedding : nullptr;
  device_->embed({.words = word_.data(),
                  .positions = positions,
                  .types = type_.data(),
                  .ids = numbers_.data(),
                  .places = places(),
                  .kinds = places() + tokens_},
                 tokens_, config_.embedding, to);
  norm(embedding_norm_, tokens_, to, to);
  if (projection_) projection_->forward(*device_, tokens_, to, encoded_, {.f32 = x_.data()});
}

// From a layer's input to what attention gives.
void DeviceEncoder::attend(int64_t index, const DeviceLinear& qkv, const float* input) {
  cuda::DeviceTable& on = *device_;
  const int64_t c = config_.hidden, heads = config_.heads;
  const int64_t window = config_.windows[static_cast<size_t>(index)];
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim_));
  const Angles& angles = window > 0 ? local_angles_ : angles_;
  const bool turns = angles.half > 0;
  DeviceLinear::Out out;
  (is_bf16_ && !turns) ? void(out.bf16 = bf16_qkv_.data()) : void(out.f32 = qkv_.data());
  qkv.forward(on, tokens_, input, encoded_, out);
  if (turns) {
    // Queries and keys lie side by side.
    on.rotate({.x = qkv_.data(),
               .ld = 3 * c,
               .heads = 2 * heads,
               .head_dim = head_dim_,
               .half = angles.half,
               .places = places(),
               .cosine = angles.cosine.data(),
               .sine = angles.sine.data()},
              tokens_);
    if (is_bf16_) on.encode_bf16(qkv_.data(), tokens_ * 3 * c, bf16_qkv_.data());
  }
  const auto attention = [&](auto* q, auto* to) {
    using Number = std::remove_pointer_t<decltype(to)>;
    on.attention(
        cuda::RaggedAttention<Number>{q, q + c, q + 2 * c, 3 * c, to, c, cu_lengths(), scale, window},
        head_dim_, heads, sequences_, longest_);
  };
  if (is_bf16_)
    attention(bf16_qkv_.data(), bf16_context_.data());
  else
    attention(qkv_.data(), context_.data());
}

// From there to the next layer's input, which it returns.
const float* DeviceEncoder::finish(int64_t index) {
  cuda::DeviceTable& on = *device_;
  const Layer& own = layer(index);
  float* const x = x_.data();
  float* const normed = config_.is_pre_norm ? normed_.data() : x;
  const DeviceLinear::Out to_x{.f32 = x, .residual = x};
  if (is_bf16_)
    own.attended.forward_bf16(on, tokens_, bf16_context_.data(), to_x);
  else
    own.attended.forward(on, tokens_, context_.data(), encoded_, to_x);
  norm(own.attended_norm, tokens_, x, normed);
  if (is_bf16_ && !config_.is_gated) {
    own.up.forward(on, tokens_, normed, encoded_,
                   {.bf16 = bf16_hidden_.data(), .activation = config_.activation});
    own.down.forward_bf16(on, tokens_, bf16_hidden_.data(), to_x);
  } else {
    own.up.forward(
        on, tokens_, normed, encoded_,
        {.f32 = hidden_.data(), .activation = config_.is_gated ? Activation::kNone : config_.activation});
    if (config_.is_gated)
      on.gate(hidden_.data(), tokens_, config_.feed_forward, config_.activation, gated_.data());
    own.down.forward(on, tokens_, config_.is_gated ? gated_.data() : hidden_.data(), encoded_, to_x);
  }
  float* const next = index + 1 == config_.layers ? x : normed;
  norm(own.down_norm, tokens_, x, next);
  return next;
}

const float* DeviceEncoder::run(const TokenBatch& batch, HiddenRows rows) {
  cuda::DeviceTable& on = *device_;
  const int64_t c = config_.hidden;
  upload(batch);
  embed();
  const float* input = x_.data();
  if (first_norm_) {
    norm(*first_norm_, tokens_, x_.data(), normed_.data());
    input = normed_.data();
  }
  for (int64_t i = 0; i < config_.layers; ++i) {
    attend(i, layer(i).qkv, input);
    input = finish(i);
  }
  const float* found = x_.data();
  if (rows == HiddenRows::kMean) on.mean_pool(x_.data(), cu_lengths(), sequences_, c, normed_.data());
  if (rows == HiddenRows::kFirst)  // rows of x as an embedding's
    on.embed({.words = x_.data(), .ids = cu_lengths()}, sequences_, c, normed_.data());
  if (rows != HiddenRows::kAll) found = normed_.data();
  on.download(states_.data(), found, (rows == HiddenRows::kAll ? tokens_ : sequences_) * c * kFloatBytes);
  wait_for(on);
  return states_.data();
}

}  // namespace headrace
