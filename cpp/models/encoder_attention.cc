#include "models/encoder_attention.h"

#include <algorithm>
#include <cmath>

namespace headrace {
namespace {

// Half of the buckets for keys that come before, half for those after; the near ones have one each, the far
// ones share them by the logarithm (Raffel et al. 2020, arXiv:1910.10683). In f32, as models were trained.
int64_t bucket_of(int64_t distance, int64_t buckets) {
  constexpr float kFarthest = 128.0f;
  buckets /= 2;
  const int64_t half = distance > 0 ? buckets : 0, size = std::abs(distance), exact = buckets / 2;
  if (size < exact) return half + size;
  const auto near = static_cast<float>(exact);
  const float place = std::log(static_cast<float>(size) / near) / std::log(kFarthest / near) *
                      static_cast<float>(buckets - exact);
  return half + std::min(exact + static_cast<int64_t>(place), buckets - 1);
}

// The slopes of n heads: those of the powers of two are a geometric series, others take every second of the
// next one's (Press et al. 2022, arXiv:2108.12409).
std::vector<double> slopes_of(int64_t n) {
  std::vector<double> slopes;
  int64_t power = 1;
  while (power * 2 <= n) power *= 2;
  for (int64_t i = 0; i < power; ++i)
    slopes.push_back(std::exp2(-8.0 * static_cast<double>(i + 1) / static_cast<double>(power)));
  for (int64_t i = 0; power + i < n; ++i)
    slopes.push_back(std::exp2(-8.0 * static_cast<double>(2 * i + 1) / static_cast<double>(2 * power)));
  return slopes;
}

}  // namespace

void EncoderAttention::load(const EncoderConfig& config, const EncoderNames& names, WeightReader& reader,
                            const Kernels& kernels) {
  kernels_ = &kernels;
  config_ = config;
  head_dim_ = config.head_dim;
  attend_ = kernels.attention;
  switch (config.attention_positions) {
    case AttentionPositions::kNone:
      break;
    case AttentionPositions::kRotary:
      rotary_.fill(config.rotary, head_dim_, config.longest());
      if (std::any_of(config.windows.begin(), config.windows.end(),
                      [](int64_t window) { return window > 0; }))
        local_rotary_.fill(config.local_rotary, head_dim_, config.longest());
      break;
    case AttentionPositions::kBuckets:
      load_buckets(reader);
      break;
    case AttentionPositions::kSlopes:
      load_slopes();
      break;
    case AttentionPositions::kCausal:
      load_causal();
      break;
    case AttentionPositions::kDisentangled:
      disentangled_.load(config, names, reader, kernels);
      break;
  }
}

void EncoderAttention::use(Precision precision) {
  attend_ = precision == Precision::kF32 ? kernels_->attention : kernels_->narrow_attention;
}

void EncoderAttention::load_buckets(WeightReader& reader) {
  const int64_t heads = config_.heads, longest = config_.longest(), width = 2 * longest - 1;
  const Buffer learned = reader.tensor("encoder.relative_attention_bias.weight", {config_.buckets, heads});
  distance_bias_ = Buffer(heads * width);
  for (int64_t head = 0; head < heads; ++head)
    for (int64_t i = 0; i < width; ++i)
      distance_bias_.data()[head * width + i] =
          learned.data()[bucket_of(i - (longest - 1), config_.buckets) * heads + head];
}

void EncoderAttention::load_slopes() {
  const int64_t heads = config_.heads, longest = config_.longest(), width = 2 * longest - 1;
  const std::vector<double> slopes = slopes_of(heads);
  distance_bias_ = Buffer(heads * width);
  for (int64_t head = 0; head < heads; ++head)
    for (int64_t i = 0; i < width; ++i)
      distance_bias_.data()[head * width + i] = static_cast<float>(
          -slopes[static_cast<size_t>(head)] * static_cast<double>(std::abs(i - (longest - 1))));
}

// One row for all heads. No infinity: a block of keys that are all hidden would have no largest score.
void EncoderAttention::load_causal() {
  const int64_t longest = config_.longest();
  distance_bias_ = Buffer(2 * longest - 1);
  std::fill(distance_bias_.data() + longest, distance_bias_.data() + distance_bias_.size(), -1e30f);
}

const float* EncoderAttention::bias_of(int64_t head) const {
  if (distance_bias_.size() == 0) return nullptr;
  const int64_t longest = config_.longest();
  if (config_.attention_positions == AttentionPositions::kCausal) head = 0;
  return distance_bias_.data() + head * (2 * longest - 1) + longest - 1;
}

void EncoderAttention::reserve(int64_t max_batch_tokens, int threads) {
  const int64_t longest = std::min(max_batch_tokens, config_.longest());
  attention_floats_ = kernels_->attention_scratch(longest, head_dim_);
  const bool is_disentangled = config_.attention_positions == AttentionPositions::kDisentangled;
  // Whole cache lines apart, so that threads do not write to each other's.
  scratch_floats_ =
      (attention_floats_ + (is_disentangled ? disentangled_.scratch(longest) : 0) + 31) / 16 * 16;
  scratch_ = Buffer(scratch_floats_ * threads);
}

void EncoderAttention::turn(const RotaryTable& table, float* q, int64_t length) const {
  const int64_t width = config_.attention_width();
  for (int64_t i = 0; i < length; ++i, q += 3 * width)
    for (float* const head : {q, q + width})
      kernels_->decoder.rotate(head, 1, head_dim_, table.half(), table.cosine(i), table.sine(i));
}

void EncoderAttention::run(int64_t layer, const TokenBatch& batch, ThreadPool& pool, float* qkv,
                           float* context) {
  const int64_t width = config_.attention_width(), heads = config_.heads;
  const int64_t window = config_.windows[static_cast<size_t>(layer)];
  pool.parallel_for(batch.sequences() * heads, [&](int64_t task, int thread) {
    const int64_t sequence = task / heads, head = task % heads;
    const int64_t begin = batch.cu_lengths[static_cast<size_t>(sequence)];
    const int64_t length = batch.cu_lengths[static_cast<size_t>(sequence) + 1] - begin;
    float* const q = qkv + begin * 3 * width + head * head_dim_;
    if (config_.attention_positions == AttentionPositions::kRotary)
      turn(window > 0 ? local_rotary_ : rotary_, q, length);
    const Attention attention{.q = q,
                              .k = q + width,
                              .v = q + 2 * width,
                              .ld = 3 * width,
                              .out = context + begin * width + head * head_dim_,
                              .ldo = width,
                              .length = length,
                              .head_dim = head_dim_,
                              .scale = 1.0f / std::sqrt(static_cast<float>(head_dim_)),
                              .scratch = scratch_.data() + thread * scratch_floats_,
                              .queries = length,
                              .window = window,
                              .bias = bias_of(head),
                              .bias_stride = -1};
    if (config_.attention_positions == AttentionPositions::kDisentangled)
      attend_disentangled(layer, head, attention, attention.scratch + attention_floats_);
    else
      attend_(attention);
  });
}

void EncoderAttention::attend_disentangled(int64_t layer, int64_t head, Attention attention,
                                           float* scratch) const {
  const Disentangled::Head of{attention.q, attention.k, attention.ld, attention.length, scratch};
  disentangled_.multiply(layer, head, of);
  attention.scale = disentangled_.scale();
  attention.bias_stride = attention.length;
  for (int64_t begin = 0; begin < of.length; begin += Disentangled::kRows) {
    attention.queries = std::min(Disentangled::kRows, of.length - begin);
    attention.first_query = begin;
    attention.bias = disentangled_.rows(of, begin, attention.queries);
    attend_(attention);
    attention.q += attention.queries * attention.ld;
    attention.out += attention.queries * attention.ldo;
  }
}

}  // namespace headrace
