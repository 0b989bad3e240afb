// Two towers that end in one space, as one model: sequences of a batch that are pictures go to the one, texts
// to the other.
#pragma once

#include <memory>
#include <vector>

#include "models/model.h"

namespace headrace {

class TwoTowers final : public Model {
 public:
  // Both have vectors of one width, else Error(kCorruptFile).
  TwoTowers(std::unique_ptr<Model> texts, std::unique_ptr<Model> pictures);

  const ModelInfo& info() const override { return info_; }
  const PictureTransform* pictures() const override { return pictures_->pictures(); }
  void reserve(int64_t max_batch_tokens, int threads) override;
  void forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) override;

 private:
  // What of a batch one tower gets.
  struct Share {
    std::vector<int32_t> ids, cu_lengths;
    std::vector<const float*> pictures;
    std::vector<float*> outputs;
  };
  static void reserve_share(Share& share, int64_t max_batch_tokens);
  static void run(Model& tower, Share& share, ThreadPool& pool);

  std::unique_ptr<Model> texts_, pictures_;
  ModelInfo info_;
  Share of_texts_, of_pictures_;
};

}  // namespace headrace
