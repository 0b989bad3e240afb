#include "models/attention_pool.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace headrace {

AttentionPool::AttentionPool(const EncoderConfig& config, WeightReader& reader, const Kernels& kernels)
    : kernels_(kernels),
      hidden_(config.hidden),
      heads_(config.heads),
      head_dim_(config.head_dim),
      length_(config.positions),
      activation_(config.activation) {
  const int64_t c = hidden_, f = config.feed_forward;
  const Buffer probe = reader.tensor("head.probe", {1, 1, c});
  std::vector<Linear> parts =
      reader.linears_of("head.attention.in_proj_weight", "head.attention.in_proj_bias", {c, 2 * c}, c);
  query_ = Buffer(c);
  parts[0].run(kernels, 1, probe.data(), nullptr, {.f32 = query_.data()});
  key_value_ = std::move(parts[1]);
  attended_ = reader.linear("head.attention.out_proj", c, c);
  norm_ = reader.layer_norm("head.layernorm", c, config.norm_eps);
  up_ = reader.linear("head.mlp.fc1", f, c);
  down_ = reader.linear("head.mlp.fc2", c, f);
}

void AttentionPool::reserve(int64_t max_batch_tokens, int threads) {
  const int64_t sequences = std::max<int64_t>(1, max_batch_tokens / length_);
  states_kv_ = Buffer(max_batch_tokens * key_value_.n);
  for (Buffer* rows : {&context_, &sum_, &normed_, &result_}) *rows = Buffer(sequences * hidden_);
  inner_ = Buffer(sequences * up_.n);
  // Whole cache lines apart, so that threads do not write to each other's.
  scratch_floats_ = (kernels_.attention_scratch(length_, head_dim_) + 31) / 16 * 16;
  scratch_ = Buffer(scratch_floats_ * threads);
}

void AttentionPool::attend(const TokenBatch& batch, ThreadPool& pool) {
  const int64_t c = hidden_;
  pool.parallel_for(batch.sequences() * heads_, [&](int64_t task, int thread) {
    const int64_t sequence = task / heads_, from = task % heads_ * head_dim_;
    const float* const keys =
        states_kv_.data() + batch.cu_lengths[static_cast<size_t>(sequence)] * 2 * c + from;
    kernels_.attention({.q = query_.data() + from,
                        .k = keys,
                        .v = keys + c,
                        .ld = 2 * c,
                        .out = context_.data() + sequence * c + from,
                        .ldo = c,
                        .length = length_,
                        .head_dim = head_dim_,
                        .scale = 1.0f / std::sqrt(static_cast<float>(head_dim_)),
                        .scratch = scratch_.data() + thread * scratch_floats_,
                        .queries = 1});
  });
}

void AttentionPool::forward(const TokenBatch& batch, const float* states, std::span<float* const> outputs,
                            ThreadPool& pool) {
  const int64_t count = batch.sequences();
  key_value_.forward(kernels_, pool, batch.tokens(), states, states_kv_.data());
  attend(batch, pool);
  attended_.forward(kernels_, pool, count, context_.data(), sum_.data());
  norm_.forward(kernels_, pool, count, sum_.data(), normed_.data());
  up_.forward(kernels_, pool, count, normed_.data(), inner_.data(), activation_);
  down_.forward(kernels_, pool, count, inner_.data(), result_.data(), Activation::kNone, sum_.data());
  for (int64_t i = 0; i < count; ++i)
    std::copy(result_.data() + i * hidden_, result_.data() + (i + 1) * hidden_,
              outputs[static_cast<size_t>(i)]);
}

}  // namespace headrace
