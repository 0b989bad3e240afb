// From the numbers of an object detector to boxes: decoding of its heads, and suppression of boxes that show
// the same thing (greedy non-maximum suppression).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "media/pixel_kernels.h"

namespace headrace {

// Finite boxes with a finite score and a class each, as arrays of each number.
struct DetectionsView {
  std::span<const std::array<float, 4>> boxes;  // x1, y1, x2, y2
  std::span<const float> scores;
  std::span<const int32_t> classes;
};

struct Detections {
  std::vector<std::array<float, 4>> boxes;  // x1, y1, x2, y2
  std::vector<float> scores;
  std::vector<int32_t> classes;

  size_t size() const { return scores.size(); }
  DetectionsView view() const { return {boxes, scores, classes}; }
  void clear();
  void add(const std::array<float, 4>& box, float score, int32_t label);
};

// What YOLO's heads give for each of `boxes` places: centre x, y, width, height, then, where has_objectness,
// a score of there being anything, then the scores of `classes` classes (Redmon et al. 2016,
// arXiv:1506.02640).
struct YoloOutput {
  const float* numbers = nullptr;
  int64_t boxes = 0;
  int64_t classes = 0;
  bool has_objectness = false;  // then a score is the class's times this one (YOLOv5 and before)
  bool is_transposed = false;   // [4 + classes, boxes] instead of [boxes, 4 + classes] (YOLOv8 and later)

  int64_t columns() const { return 4 + (has_objectness ? 1 : 0) + classes; }
};

// The best class of each place, of equal ones the first, where its score is above `threshold`. Places whose
// numbers are not finite are left out.
void decode_yolo(const YoloOutput& output, float threshold, Detections& out);

// What the Single Shot Detector gives for each of `boxes` anchors (Liu et al. 2016, arXiv:1512.02325):
//   centre = anchor centre + variances[0] location anchor size;  size = anchor size exp(variances[1]
//   location)
struct SsdOutput {
  const float* locations = nullptr;  // [boxes, 4]: x, y, width, height
  const float* scores = nullptr;     // [boxes, classes], probabilities; class 0 is the background
  const float* anchors = nullptr;    // [boxes, 4]: centre x, y, width, height
  int64_t boxes = 0;
  int64_t classes = 0;
  std::array<float, 2> variances{0.1f, 0.2f};
};

// Every class but the background whose score is above `threshold`: an anchor may show several. Classes keep
// their numbers.
void decode_ssd(const SsdOutput& output, float threshold, Detections& out);

struct SuppressionOptions {
  float max_overlap = 0.5f;      // intersection over union above which the lower score goes
  bool across_classes = false;   // also of boxes of different classes
  int64_t max_detections = 300;  // of the best
};

// The places of those that stay, best first; of equal scores the first. A box is measured against every
// better one of its class that stays. Overlap is inter / (area + area - inter) in f32, areas of max(0, side).
//
// Boxes come in the order of their scores and are measured against those that stay until enough do: never
// more than boxes times max_detections pairs, and what is behind the last one that stays is not looked at.
class Suppression {
 public:
  std::span<const int32_t> run(const PixelKernels& kernels, const DetectionsView& given,
                               const SuppressionOptions& options);

 private:
  // Those of a class that stay, as PixelKernels::overlaps_any takes them; what is missing of a block is zero.
  struct Kept {
    std::vector<float> blocks;
    int64_t count = 0;

    void add(const std::array<float, kBoxNumbers>& box);
  };

  void sort(std::span<const float> scores);

  std::vector<uint64_t> order_, spare_;  // place in the lower half
  std::unordered_map<int32_t, Kept> kept_of_class_;
  std::vector<int32_t> kept_;
};

}  // namespace headrace
