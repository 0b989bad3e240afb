#include "media/detections.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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
  constexpr int64_t kBlock = 512;
  float best[kBlock];
  const int64_t n = output.boxes, first = output.columns() - output.classes;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    std::fill(best, best + count, -HUGE_VALF);
    for (int64_t c = 0; c < output.classes; ++c) {
      const float* const scores = output.numbers + (first + c) * n + begin;
      for (int64_t i = 0; i < count; ++i) best[i] = scores[i] > best[i] ? scores[i] : best[i];
    }
    for (int64_t i = 0; i < count; ++i) {
      const float* const place = output.numbers + begin + i;
      const float factor = output.has_objectness ? place[4 * n] : 1.0f;
      if (!(factor > threshold) || !(best[i] * factor > threshold)) continue;
      int32_t label = 0;
      while (place[(first + label) * n] != best[i]) ++label;
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

void Suppression::sort(const Detections& detections) {
  const size_t n = detections.size();
  order_.resize(n);
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    return detections.scores[static_cast<size_t>(a)] > detections.scores[static_cast<size_t>(b)];
  });
}

// Marks what of [from, to) overlaps the one at `kept`. No branches: the compiler makes vectors of it.
void Suppression::drop_overlapping(size_t from, size_t to, size_t kept, float max_overlap) {
  const float left = left_[kept], top = top_[kept], right = right_[kept], bottom = bottom_[kept];
  const float area = area_[kept];
  const float *lefts = left_.data(), *tops = top_.data(), *rights = right_.data(), *bottoms = bottom_.data();
  const float* const areas = area_.data();
  uint8_t* const dropped = dropped_.data();
  for (size_t j = from; j < to; ++j) {
    const float x1 = lefts[j] > left ? lefts[j] : left, x2 = rights[j] < right ? rights[j] : right;
    const float y1 = tops[j] > top ? tops[j] : top, y2 = bottoms[j] < bottom ? bottoms[j] : bottom;
    const float width = x2 - x1 > 0.0f ? x2 - x1 : 0.0f, height = y2 - y1 > 0.0f ? y2 - y1 : 0.0f;
    const float inter = width * height;
    dropped[j] = static_cast<uint8_t>(dropped[j] | (inter / (areas[j] + area - inter) > max_overlap ? 1 : 0));
  }
}

std::span<const int32_t> Suppression::run(const Detections& detections, const SuppressionOptions& options) {
  const size_t n = detections.size();
  sort(detections);
  if (!options.across_classes)  // classes one after the other, each best first
    std::stable_sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
      return detections.classes[static_cast<size_t>(a)] < detections.classes[static_cast<size_t>(b)];
    });
  for (std::vector<float>* numbers : {&left_, &top_, &right_, &bottom_, &area_}) numbers->resize(n);
  dropped_.assign(n, 0);
  for (size_t i = 0; i < n; ++i) {
    const std::array<float, 4>& box = detections.boxes[static_cast<size_t>(order_[i])];
    left_[i] = box[0];
    top_[i] = box[1];
    right_[i] = box[2];
    bottom_[i] = box[3];
    area_[i] = std::max(0.0f, box[2] - box[0]) * std::max(0.0f, box[3] - box[1]);
  }
  kept_.clear();
  const auto limit = static_cast<size_t>(std::max<int64_t>(0, options.max_detections));
  const auto class_at = [&](size_t i) { return detections.classes[static_cast<size_t>(order_[i])]; };
  for (size_t begin = 0, end = n; begin < n; begin = end, end = n) {
    if (!options.across_classes) {
      end = begin;
      while (end < n && class_at(end) == class_at(begin)) ++end;
    }
    size_t of_group = 0;
    for (size_t i = begin; i < end && of_group < limit; ++i) {
      if (dropped_[i]) continue;
      kept_.push_back(order_[i]);
      ++of_group;
      drop_overlapping(i + 1, end, i, options.max_overlap);
    }
  }
  // Of all classes together, best first; a class's own best are among the best of all.
  std::sort(kept_.begin(), kept_.end(), [&](int32_t a, int32_t b) {
    const float x = detections.scores[static_cast<size_t>(a)], y = detections.scores[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  if (kept_.size() > limit) kept_.resize(limit);
  return kept_;
}

}  // namespace headrace
