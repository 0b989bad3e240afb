#include "models/disentangled.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace headrace {

// Near distances have a bucket each, far ones share them by the logarithm; in f32, as models were trained.
int64_t Disentangled::bucket(int64_t distance) const {
  int64_t bucket = distance;
  const int64_t middle = config_.buckets / 2, size = std::abs(distance);
  if (config_.buckets > 0 && size > middle) {
    const auto of = [&](int64_t reach) {
      return std::log(static_cast<float>(reach) / static_cast<float>(middle));
    };
    const float place = std::ceil(of(size) / of(config_.farthest - 1) * static_cast<float>(middle - 1));
    bucket = (static_cast<int64_t>(place) + middle) * (distance < 0 ? -1 : 1);
  }
  return std::clamp<int64_t>(bucket + config_.span, 0, 2 * config_.span - 1);
}

void Disentangled::load(const EncoderConfig& config, const EncoderNames& names, WeightReader& reader,
                        const Kernels& kernels) {
  kernels_ = &kernels;
  config_ = config.disentangled;
  heads_ = config.heads;
  head_dim_ = config.hidden / config.heads;
  longest_ = config.longest();
  const int terms = 1 + (config_.has_keys ? 1 : 0) + (config_.has_queries ? 1 : 0);
  scale_ = 1.0f / std::sqrt(static_cast<float>(head_dim_ * terms));
  for (int64_t distance = 1 - longest_; distance < longest_; ++distance)
    buckets_.push_back(static_cast<int32_t>(bucket(distance)));

  const int64_t c = config.hidden, rows = 2 * config_.span;
  Buffer distances = reader.tensor("encoder.rel_embeddings.weight", {rows, c});
  if (config_.has_norm)
    reader.layer_norm("encoder.LayerNorm", c, config.norm_eps)
        .run(kernels, rows, distances.data(), distances.data());
  WeightReader again = reader;  // for the layers' own matrices, which count once
  const auto project = [&](const std::string& name) {
    const Linear linear = (config_.shares_keys ? again : reader).linear(name, c, c);
    Buffer projected(rows * c);
    linear.run(kernels, rows, distances.data(), nullptr, {.f32 = projected.data()});
    return pack(projected);
  };
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string layer = concat(names.layer, i, "."), attention = layer + "attention.self.";
    if (config_.has_keys)
      keys_.push_back(project(config_.shares_keys ? layer + names.key : attention + "pos_key_proj"));
    if (config_.has_queries)
      queries_.push_back(project(config_.shares_keys ? layer + names.query : attention + "pos_query_proj"));
  }
}

Disentangled::Packed Disentangled::pack(const Buffer& plain) const {
  const int64_t rows = 2 * config_.span, c = heads_ * head_dim_, panel = kernels_->panel_columns;
  Packed packed;
  Buffer own(rows * head_dim_);
  for (int64_t head = 0; head < heads_; ++head) {
    for (int64_t row = 0; row < rows; ++row)
      std::copy_n(plain.data() + row * c + head * head_dim_, head_dim_, own.data() + row * head_dim_);
    packed.emplace_back((rows + panel - 1) / panel * panel * head_dim_);
    kernels_->pack_weights(own.data(), rows, head_dim_, packed.back().data());
  }
  return packed;
}

Disentangled::Columns Disentangled::columns(int64_t length) const {
  const int64_t panel = kernels_->panel_columns;
  const auto at = [&](int64_t distance) {
    return static_cast<int64_t>(buckets_[static_cast<size_t>(distance + longest_ - 1)]);
  };
  return {at(1 - length) / panel * panel, std::min(2 * config_.span, (at(length - 1) / panel + 1) * panel)};
}

int64_t Disentangled::scratch(int64_t length) const { return (2 * columns(length).count() + kRows) * length; }

void Disentangled::multiply(int64_t layer, int64_t head, const Head& of) const {
  const Columns wanted = columns(of.length);
  const auto run = [&](const std::vector<Packed>& distances, const float* x, float* out) {
    if (distances.empty()) return std::fill_n(out, wanted.count() * of.length, 0.0f), void();
    const Gemm gemm{.x = x,
                    .ldx = of.ld,
                    .packed_w = distances[static_cast<size_t>(layer)][static_cast<size_t>(head)].data(),
                    .bias = nullptr,
                    .residual = nullptr,
                    .ldr = 0,
                    .y = out - wanted.begin,
                    .ldy = wanted.count(),
                    .n = 2 * config_.span,
                    .k = head_dim_,
                    .activation = Activation::kNone};
    kernels_->gemm(gemm, 0, of.length, wanted.begin, wanted.end);
  };
  run(keys_, of.q, of.scratch);
  run(queries_, of.k, of.scratch + wanted.count() * of.length);
}

const float* Disentangled::rows(const Head& of, int64_t begin, int64_t rows) const {
  const Columns wanted = columns(of.length);
  const float* const of_queries = of.scratch;
  const float* const of_keys = of.scratch + wanted.count() * of.length;
  float* const bias = of.scratch + 2 * wanted.count() * of.length;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t i = begin + row;
    const float* const query = of_queries + i * wanted.count() - wanted.begin;
    const int32_t* const place = buckets_.data() + longest_ - 1 + i;  // of distance i - j: place[-j]
    for (int64_t j = 0; j < of.length; ++j) {
      const int32_t column = place[-j];
      bias[row * of.length + j] =
          scale_ * (query[column] + of_keys[j * wanted.count() + column - wanted.begin]);
    }
  }
  return bias;
}

}  // namespace headrace
