#include "models/device_decoder.h"

#include <algorithm>

#include "base/error.h"

namespace headrace {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));
// A text's attention is cut where its own length says, not where the company does: splits have one size, so
// many that the longest text has at most kMostSplits, and no less than kFewestBlocks blocks.
constexpr int64_t kMostSplits = 16, kFewestBlocks = 4;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

DeviceDecoder::DeviceDecoder(std::unique_ptr<cuda::DeviceTable> device, const Parts& parts)
    : device_(std::move(device)), config_(parts.config) {
  check();
  cuda::DeviceTable& on = *device_;
  for (DecoderLayer& each : parts.layers) {
    layers_.push_back({.attention_norm = upload(each.attention_norm),
                       .attended_norm = upload(each.attended_norm),
                       .mlp_norm = upload(each.mlp_norm),
                       .down_norm = upload(each.down_norm),
                       .qkv = DeviceLinear(on, each.qkv),
                       .attended = DeviceLinear(on, each.attended),
                       .gate_up = DeviceLinear(on, each.gate_up),
                       .down = DeviceLinear(on, each.down),
                       .query_norm = to_device(on, each.query_norm),
                       .key_norm = to_device(on, each.key_norm),
                       .window = each.window});
    each = {};  // its memory goes back
  }
  final_norm_ = upload(parts.final_norm);
  output_ = DeviceLinear(on, parts.output);
}

DeviceDecoder::~DeviceDecoder() {
  for (const auto& [key, recording] : recordings_) device_->forget(recording);
}

void DeviceDecoder::check() const {
  const int64_t group = config_.heads / config_.kv_heads;
  if (config_.head_dim > cuda::PagedTensor::kMaxHeadDim || group > cuda::PagedTensor::kMaxGroup)
    throw Error(
        ErrorKind::kUnsupported,
        concat("heads of ", config_.head_dim, " numbers, ", group, " of them to a key, on a device: at most ",
               cuda::PagedTensor::kMaxHeadDim, " and ", cuda::PagedTensor::kMaxGroup, "; use device='cpu'"));
}

DeviceDecoder::Norm DeviceDecoder::upload(const DecoderNorm& norm) {
  return {to_device(*device_, norm.gain), to_device(*device_, norm.bias)};
}

DeviceDecoder::Angles DeviceDecoder::angles(const RotaryConfig& rotary, int64_t positions) {
  RotaryTable table;
  table.fill(rotary, config_.rotated, positions);
  const int64_t half = table.half();
  Buffer cosine(positions * half), sine(positions * half);
  for (int64_t i = 0; i < positions; ++i) {
    std::copy(table.cosine(i), table.cosine(i) + half, cosine.data() + i * half);
    std::copy(table.sine(i), table.sine(i) + half, sine.data() + i * half);
  }
  return {half, to_device(*device_, cosine), to_device(*device_, sine)};
}

int64_t DeviceDecoder::cache_block_bytes(KvType kv) const {
  return config_.layers * block_numbers() * (kv == KvType::kF32 ? 4 : 2);
}

void DeviceDecoder::reserve(const StepLimits& limits) {
  if (limits.kv == KvType::kInt8)
    throw Error(ErrorKind::kUnsupported,
                "keys and values in int8 on a device: they are kept in f32 or bf16; ask for kv='bf16'");
  for (const auto& [key, recording] : recordings_) device_->forget(recording);
  recordings_.clear();
  limits_ = limits;
  cuda::DeviceTable& on = *device_;
  const LanguageConfig& c = config_;
  const int64_t rows = limits.step_tokens, queries = c.heads * c.head_dim;
  if (c.rotated > 0) {
    angles_ = angles(c.rotary, limits.context);
    local_angles_ = angles(c.local_rotary, limits.context);
  }
  table_width_ = divide_up(limits.context, kCacheBlock);
  blocks_per_split_ = std::max(kFewestBlocks, divide_up(table_width_, kMostSplits));
  const int64_t most_splits = divide_up(table_width_, blocks_per_split_);
  const int64_t numbers = tables_at() + rows * table_width_;
  host_numbers_ = HostArray<int32_t>(on, numbers);
  numbers_ = DeviceArray<int32_t>(on, numbers);
  host_x_ = HostArray<float>(on, rows * c.hidden);
  x_ = DeviceArray<float>(on, rows * c.hidden);
  normed_ = DeviceArray<float>(on, std::max(rows, limits.step_wanted) * c.hidden);
  qkv_ = DeviceArray<float>(on, rows * (queries + 2 * c.kv_heads * c.head_dim));
  context_ = DeviceArray<float>(on, rows * queries);
  gate_up_ = DeviceArray<float>(on, rows * 2 * c.feed_forward);
  hidden_ = DeviceArray<float>(on, rows * c.feed_forward);
  logits_ = DeviceArray<float>(on, limits.step_wanted * c.vocabulary);
  sums_ = DeviceArray<float>(on, rows * c.heads * most_splits * c.head_dim);
  most_ = DeviceArray<float>(on, rows * c.heads * most_splits);
  weight_ = DeviceArray<float>(on, rows * c.heads * most_splits);
  int64_t bytes = 0;
  for (const DeviceLinear* each : {&layers_.front().qkv, &layers_.front().attended, &layers_.front().down})
    bytes = std::max(bytes, each->row_bytes());
  encoded_ = {DeviceArray<char>(on, rows * bytes), DeviceArray<float>(on, rows)};
  cache_ = DeviceArray<char>(on, limits.blocks * cache_block_bytes(limits.kv));
  sampling_ = DeviceArray<cuda::SamplingRow>(on, limits.step_wanted);
  tokens_ = DeviceArray<int32_t>(on, limits.step_wanted);
}

void DeviceDecoder::upload(const StepBatch& batch) {
  rows_ = static_cast<int64_t>(batch.ids.size());
  sequences_ = static_cast<int64_t>(batch.spans.size());
  wanted_ = 0;
  int32_t* const positions = host_numbers_.data();
  int32_t* const slots = positions + limits_.step_tokens;
  int32_t* const sequences = slots + limits_.step_tokens;
  int32_t* const wanted = sequences + limits_.step_tokens;
  int32_t* const tables = positions + tables_at();
  int64_t row = 0, longest = 0;
  for (int64_t s = 0; s < sequences_; ++s) {
    const StepSpan& span = batch.spans[static_cast<size_t>(s)];
    const int64_t end = span.position + span.tokens, blocks = divide_up(end, kCacheBlock);
    std::copy(span.blocks, span.blocks + blocks, tables + s * table_width_);
    longest = std::max(longest, blocks);
    for (int64_t position = span.position; position < end; ++position, ++row) {
      positions[row] = static_cast<int32_t>(position);
      slots[row] =
          static_cast<int32_t>(span.blocks[position / kCacheBlock] * kCacheBlock + position % kCacheBlock);
      sequences[row] = static_cast<int32_t>(s);
      if (position >= end - span.wanted) wanted[wanted_++] = static_cast<int32_t>(row);
    }
  }
  splits_ = divide_up(longest, blocks_per_split_);
  device_->upload(numbers_.data(), positions, (tables_at() + sequences_ * table_width_) * 4);
  device_->upload(x_.data(), host_x_.data(), rows_ * config_.hidden * kFloatBytes);
}

void DeviceDecoder::norm(const Norm& norm, int64_t rows, const float* x, float* y) {
  const LanguageConfig& c = config_;
  if (c.has_layer_norms)
    device_->layer_norm(x, norm.gain.data(), norm.bias.data(), c.norm_eps, rows, c.hidden, y);
  else
    device_->rms_norm(x, norm.gain.data(), c.norm_eps, rows, c.hidden, y);
}

void DeviceDecoder::step(const StepBatch& batch, float* logits) {
  upload(batch);
  // One token for each text, and all of them wanted: what such steps launch depends on this key alone.
  const bool is_plain = rows_ == sequences_ && wanted_ == rows_;
  if (records_ && is_plain) {
    void*& recording = recordings_[{rows_, splits_}];
    if (!recording) {
      device_->begin_recording();
      run();
      recording = device_->end_recording();
    }
    records_ = recording != nullptr;
    if (recording)
      device_->replay(recording);
    else
      run();
  } else {
    run();
  }
  if (logits && wanted_ > 0)
    device_->download(logits, logits_.data(), wanted_ * config_.vocabulary * kFloatBytes);
  wait_for(*device_);
}

void DeviceDecoder::run() {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    norm(layer.attention_norm, rows_, x_.data(), normed_.data());
    attend(layer, i);
    add_block(layer.attended, layer.attended_norm, context_.data());
    norm(layer.mlp_norm, rows_, x_.data(), normed_.data());
    feed_forward(layer);
    add_block(layer.down, layer.down_norm, hidden_.data());
  }
  if (wanted_ == 0) return;
  // The wanted rows of x, as an embedding's.
  const int64_t c = config_.hidden;
  device_->embed({.words = x_.data(), .ids = wanted()}, wanted_, c, normed_.data());
  norm(final_norm_, wanted_, normed_.data(), normed_.data());
  output_.forward(*device_, wanted_, normed_.data(), encoded_, {.f32 = logits_.data()});
  if (config_.logit_cap > 0)
    device_->soft_cap(config_.logit_cap, wanted_ * config_.vocabulary, logits_.data());
}

// From normed_ to context_; keys and values to the cache.
void DeviceDecoder::attend(const Layer& layer, size_t index) {
  cuda::DeviceTable& on = *device_;
  const LanguageConfig& c = config_;
  const int64_t d = c.head_dim, queries = c.heads * d, keys = c.kv_heads * d, width = queries + 2 * keys;
  float* const q = qkv_.data();
  layer.qkv.forward(on, rows_, normed_.data(), encoded_, {.f32 = q});
  if (c.has_head_norms) {
    on.rms_norm_heads(q, width, layer.query_norm.data(), c.norm_eps, rows_, c.heads, d);
    on.rms_norm_heads(q + queries, width, layer.key_norm.data(), c.norm_eps, rows_, c.kv_heads, d);
  }
  const Angles& angles = layer.window > 0 ? local_angles_ : angles_;
  if (c.rotated > 0)
    on.rotate({.x = q,
               .ld = width,
               .heads = c.heads + c.kv_heads,
               .head_dim = d,
               .half = angles.half,
               .places = positions(),
               .cosine = angles.cosine.data(),
               .sine = angles.sine.data()},
              rows_);
  char* const cache = cache_.data() + static_cast<int64_t>(index) * limits_.blocks *
                                          (cache_block_bytes(limits_.kv) / c.layers);
  on.store_keys_values({.keys = q + queries,
                        .values = q + queries + keys,
                        .ld = width,
                        .slots = slots(),
                        .kv_heads = c.kv_heads,
                        .head_dim = d,
                        .type = limits_.kv,
                        .cache = cache,
                        .block_numbers = block_numbers()},
                       rows_);
  if (limits_.kv == KvType::kF32)
    attend_pages(layer, reinterpret_cast<const float*>(cache));
  else
    attend_pages(layer, reinterpret_cast<const cuda::Bf16*>(cache));
}

template <typename Cache>
void DeviceDecoder::attend_pages(const Layer& layer, Cache* cache) {
  const LanguageConfig& c = config_;
  const cuda::PagedRows<std::remove_const_t<Cache>> rows{.q = qkv_.data(),
                                                         .ldq = (c.heads + 2 * c.kv_heads) * c.head_dim,
                                                         .cache = cache,
                                                         .block_numbers = block_numbers(),
                                                         .block_tables = numbers_.data() + tables_at(),
                                                         .table_width = table_width_,
                                                         .positions = positions(),
                                                         .kv_heads = c.kv_heads,
                                                         .window = layer.window,
                                                         .scale = c.attention_scale,
                                                         .soft_cap = c.attention_cap,
                                                         .sums = sums_.data(),
                                                         .most = most_.data(),
                                                         .weight = weight_.data(),
                                                         .sequences = sequences()};
  device_->paged_attention(rows,
                           {.rows = rows_,
                            .group = c.heads / c.kv_heads,
                            .head_dim = c.head_dim,
                            .splits = splits_,
                            .blocks_per_split = blocks_per_split_},
                           context_.data());
}

// From normed_ to hidden_.
void DeviceDecoder::feed_forward(const Layer& layer) {
  cuda::DeviceTable& on = *device_;
  if (!config_.has_gates)
    return layer.gate_up.forward(on, rows_, normed_.data(), encoded_,
                                 {.f32 = hidden_.data(), .activation = config_.activation});
  layer.gate_up.forward(on, rows_, normed_.data(), encoded_, {.f32 = gate_up_.data()});
  on.gate(gate_up_.data(), rows_, config_.feed_forward, config_.activation, hidden_.data());
}

// x += what a block gives, normed first where there is a norm.
void DeviceDecoder::add_block(const DeviceLinear& linear, const Norm& after, const float* input) {
  float* const x = x_.data();
  if (after.gain.size() == 0)
    return linear.forward(*device_, rows_, input, encoded_, {.f32 = x, .residual = x});
  linear.forward(*device_, rows_, input, encoded_, {.f32 = normed_.data()});
  norm(after, rows_, normed_.data(), normed_.data());
  device_->add(normed_.data(), rows_ * config_.hidden, x);
}

void DeviceDecoder::choose(std::span<const cuda::SamplingRow> rows, std::span<int32_t> tokens) {
  const auto count = static_cast<int64_t>(rows.size());
  device_->upload(sampling_.data(), rows.data(), static_cast<int64_t>(rows.size_bytes()));
  device_->sample(logits_.data(), count, config_.vocabulary, sampling_.data(), nullptr, tokens_.data());
  device_->download(tokens.data(), tokens_.data(), static_cast<int64_t>(tokens.size_bytes()));
  wait_for(*device_);
}

}  // namespace headrace
