#include "models/two_towers.h"

#include <algorithm>

#include "base/error.h"

namespace headrace {

TwoTowers::TwoTowers(std::unique_ptr<Model> texts, std::unique_ptr<Model> pictures)
    : texts_(std::move(texts)), pictures_(std::move(pictures)), info_(texts_->info()) {
  const ModelInfo& seen = pictures_->info();
  if (seen.dimensions != info_.dimensions)
    throw Error(ErrorKind::kCorruptFile, concat("the towers have vectors of ", info_.dimensions, " and ",
                                                seen.dimensions, " numbers: they must be of one width"));
  info_.picture_tokens = seen.picture_tokens;
  info_.picture_width = seen.picture_width;
  info_.picture_height = seen.picture_height;
  info_.parameters += seen.parameters;
  info_.weight_bytes += seen.weight_bytes;
}

void TwoTowers::reserve_share(Share& share, int64_t max_batch_tokens) {
  const auto tokens = static_cast<size_t>(max_batch_tokens);
  share.ids.reserve(tokens);
  share.cu_lengths.reserve(tokens + 1);
  share.pictures.reserve(tokens);
  share.outputs.reserve(tokens);
}

void TwoTowers::reserve(int64_t max_batch_tokens, int threads) {
  texts_->reserve(max_batch_tokens, threads);
  pictures_->reserve(max_batch_tokens, threads);
  reserve_share(of_texts_, max_batch_tokens);
  reserve_share(of_pictures_, max_batch_tokens);
}

void TwoTowers::run(Model& tower, Share& share, ThreadPool& pool) {
  if (share.outputs.empty()) return;
  tower.forward({.ids = share.ids, .cu_lengths = share.cu_lengths, .pictures = share.pictures}, share.outputs,
                pool);
}

void TwoTowers::forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool& pool) {
  for (Share* share : {&of_texts_, &of_pictures_}) {
    share->ids.clear();
    share->cu_lengths.assign(1, 0);
    share->pictures.clear();
    share->outputs.clear();
  }
  for (int64_t b = 0; b < batch.sequences(); ++b) {
    const float* const picture = batch.picture(b);
    Share& share = picture ? of_pictures_ : of_texts_;
    const auto first = batch.ids.begin() + batch.cu_lengths[static_cast<size_t>(b)];
    const auto last = batch.ids.begin() + batch.cu_lengths[static_cast<size_t>(b) + 1];
    share.ids.insert(share.ids.end(), first, last);
    share.cu_lengths.push_back(static_cast<int32_t>(share.ids.size()));
    if (picture) share.pictures.push_back(picture);
    share.outputs.push_back(outputs[static_cast<size_t>(b)]);
  }
  run(*texts_, of_texts_, pool);
  run(*pictures_, of_pictures_, pool);
}

}  // namespace headrace
