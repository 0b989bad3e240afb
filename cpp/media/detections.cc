#include "media/detections.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace headrace {
namespace {

constexpr int64_t kLanes = 8;  // that the compiler turns into vectors

bool is_finite(const std::array<float, 4>& box) {
  float sum = 0;
  for (const float side : box) sum += side * 0.0f;
  return sum == 0.0f;
}

std::array<float, 4> corners(float x, float y, float width, float height) {
  return {x - width / 2, y - height / 2, x + width / 2, y + height / 2};
}

// The largest of scores[0] ... scores[n - 1]; NaN counts as less than all.
float largest(const float* scores, int64_t n) {
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -HUGE_VALF);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] = scores[i + lane] > lanes[lane] ? scores[i + lane] : lanes[lane];
  float best = -HUGE_VALF;
  for (const float lane : lanes) best = std::max(best, lane);
  for (; i < n; ++i) best = scores[i] > best ? scores[i] : best;
  return best;
}

void decode_rows(const YoloOutput& output, float threshold, Detections& out) {
  const int64_t columns = output.columns(), first = columns - output.classes;
  for (int64_t i = 0; i < output.boxes; ++i) {
    const float* const row = output.numbers + i * columns;
    const float factor = output.has_objectness ? row[4] : 1.0f;
    if (output.has_objectness && !(factor > threshold)) continue;  // class scores are at most 1
    const float* const scores = row + first;
    const float best = largest(scores, output.classes);
    if (!(best * factor > threshold)) continue;
    const auto label = static_cast<int32_t>(std::find(scores, scores + output.classes, best) - scores);
    out.add(corners(row[0], row[1], row[2], row[3]), best * factor, label);
  }
}

// Places of a block at a time, so that what is known of them stays near while the classes pass.
void decode_columns(const YoloOutput& output, float threshold, Detections& out) {
  constexpr int64_t kBlock = 512, kFew = 16;
  float best[kBlock];
  int32_t labels[kBlock];
  const int64_t n = output.boxes, first = output.columns() - output.classes;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    std::fill(best, best + count, -HUGE_VALF);
    for (int64_t c = 0; c < output.classes; ++c) {
      const float* const scores = output.numbers + (first + c) * n + begin;
      for (int64_t i = 0; i < count; ++i) best[i] = scores[i] > best[i] ? scores[i] : best[i];
    }
    // The classes of many are found in a second pass, those of a few one by one.
    const bool are_many = std::count_if(best, best + count, [&](float b) { return b > threshold; }) > kFew;
    for (int64_t c = are_many ? output.classes : 0; c-- > 0;) {
      const float* const scores = output.numbers + (first + c) * n + begin;
      for (int64_t i = 0; i < count; ++i)
        labels[i] = scores[i] == best[i] ? static_cast<int32_t>(c) : labels[i];
    }
    for (int64_t i = 0; i < count; ++i) {
      const float* const place = output.numbers + begin + i;
      const float factor = output.has_objectness ? place[4 * n] : 1.0f;
      if (!(factor > threshold) || !(best[i] * factor > threshold)) continue;
      int32_t label = are_many ? labels[i] : 0;
      while (!are_many && place[(first + label) * n] != best[i]) ++label;
      out.add(corners(place[0], place[n], place[2 * n], place[3 * n]), best[i] * factor, label);
    }
  }
}

}  // namespace

void Detections::clear() {
  boxes.clear();
  scores.clear();
  classes.clear();
}

void Detections::add(const std::array<float, 4>& box, float score, int32_t label) {
  if (!is_finite(box) || !std::isfinite(score)) return;
  boxes.push_back(box);
  scores.push_back(score);
  classes.push_back(label);
}

void decode_yolo(const YoloOutput& output, float threshold, Detections& out) {
  out.clear();
  if (output.is_transposed)
    decode_columns(output, threshold, out);
  else
    decode_rows(output, threshold, out);
}

void decode_ssd(const SsdOutput& output, float threshold, Detections& out) {
  out.clear();
  for (int64_t i = 0; i < output.boxes; ++i) {
    const float* const scores = output.scores + i * output.classes;
    if (!(largest(scores + 1, output.classes - 1) > threshold)) continue;
    const float *location = output.locations + 4 * i, *anchor = output.anchors + 4 * i;
    const std::array<float, 4> box = corners(anchor[0] + output.variances[0] * location[0] * anchor[2],
                                             anchor[1] + output.variances[0] * location[1] * anchor[3],
                                             anchor[2] * std::exp(output.variances[1] * location[2]),
                                             anchor[3] * std::exp(output.variances[1] * location[3]));
    for (int64_t c = 1; c < output.classes; ++c)
      if (scores[c] > threshold) out.add(box, scores[c], static_cast<int32_t>(c));
  }
}

// By radix, best first. The keys' upper half falls as scores rise, and places keep their order within equal
// ones.
void Suppression::sort(std::span<const float> scores) {
  constexpr size_t kDigits = 4, kBits = 8;
  const size_t n = scores.size();
  order_.resize(n);
  spare_.resize(n);
  std::array<std::array<uint32_t, size_t{1} << kBits>, kDigits> counts{};
  const auto digit_of = [](uint64_t key, size_t digit) { return (key >> (32 + kBits * digit)) & 0xff; };
  for (size_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<uint32_t>(scores[i] + 0.0f);  // -0 is 0
    const uint32_t falling = bits >> 31 ? bits : ~(bits | 0x80000000u);
    order_[i] = uint64_t{falling} << 32 | i;
    for (size_t digit = 0; digit < kDigits; ++digit) ++counts[digit][digit_of(order_[i], digit)];
  }
  for (size_t digit = 0; digit < kDigits && n > 0; ++digit) {
    std::array<uint32_t, size_t{1} << kBits>& places = counts[digit];
    if (places[digit_of(order_[0], digit)] == n) continue;
    uint32_t next = 0;
    for (uint32_t& place : places) next += std::exchange(place, next);
    for (const uint64_t key : order_) spare_[places[digit_of(key, digit)]++] = key;
    order_.swap(spare_);
  }
}

void Suppression::Kept::add(const std::array<float, kBoxNumbers>& box) {
  const int64_t lane = count++ % kBoxBlock;
  if (lane == 0) blocks.resize(blocks.size() + kBoxBlock * kBoxNumbers);
  float* const block = blocks.data() + blocks.size() - kBoxBlock * kBoxNumbers;
  for (size_t i = 0; i < box.size(); ++i) block[static_cast<int64_t>(i) * kBoxBlock + lane] = box[i];
}

std::span<const int32_t> Suppression::run(const PixelKernels& kernels, const DetectionsView& given,
                                          const SuppressionOptions& options) {
  sort(given.scores);
  kept_.clear();
  kept_of_class_.clear();
  const auto limit = static_cast<size_t>(std::max<int64_t>(0, options.max_detections));
  for (const uint64_t key : order_) {
    if (kept_.size() == limit) break;
    const auto i = static_cast<uint32_t>(key);
    const std::array<float, 4>& sides = given.boxes[i];
    const std::array<float, kBoxNumbers> box{
        sides[0], sides[1], sides[2], sides[3],
        std::max(0.0f, sides[2] - sides[0]) * std::max(0.0f, sides[3] - sides[1])};
    Kept& others = kept_of_class_[options.across_classes ? 0 : given.classes[i]];
    const int64_t blocks = (others.count + kBoxBlock - 1) / kBoxBlock;
    if (kernels.overlaps_any(others.blocks.data(), blocks, box.data(), options.max_overlap)) continue;
    others.add(box);
    kept_.push_back(static_cast<int32_t>(i));
  }
  return kept_;
}

}  // namespace headrace
