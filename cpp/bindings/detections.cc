// Detectors' numbers to boxes, for Python. The GIL is released while they are read.
#include "media/detections.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "bindings/bindings.h"
#include "kernels/dispatch.h"

namespace py = pybind11;

namespace headrace {
namespace {

using Matrix = py::array_t<float, py::array::c_style>;
using Vector = py::array_t<float, py::array::c_style>;
using Classes = py::array_t<int32_t, py::array::c_style>;

void check_threshold(const char* name, float value) {
  if (!(value >= 0 && value <= 1))
    throw Error(ErrorKind::kInvalidArgument, concat(name, "=", value, ": must be between 0 and 1"));
}

[[noreturn]] void refuse(const char* name, const char* shape) {
  throw Error(ErrorKind::kInvalidArgument, concat(name, ": must be a float32 array ", shape));
}

py::tuple arrays_of(const Detections& found) {
  const auto n = static_cast<py::ssize_t>(found.size());
  Matrix boxes({n, py::ssize_t{4}});
  Vector scores(n);
  Classes classes(n);
  if (n > 0) {
    std::memcpy(boxes.mutable_data(), found.boxes.data(), found.size() * sizeof(found.boxes[0]));
    std::memcpy(scores.mutable_data(), found.scores.data(), found.size() * sizeof(float));
    std::memcpy(classes.mutable_data(), found.classes.data(), found.size() * sizeof(int32_t));
  }
  return py::make_tuple(boxes, scores, classes);
}

py::tuple yolo(const Matrix& output, float threshold, bool has_objectness, bool is_transposed) {
  check_threshold("threshold", threshold);
  if (output.ndim() != 2) refuse("output", "[boxes, 4 + classes] or [4 + classes, boxes]");
  YoloOutput numbers{
      .numbers = output.data(), .has_objectness = has_objectness, .is_transposed = is_transposed};
  const int64_t columns = output.shape(is_transposed ? 0 : 1);
  numbers.boxes = output.shape(is_transposed ? 1 : 0);
  numbers.classes = columns - 4 - (has_objectness ? 1 : 0);
  if (numbers.classes < 1)
    throw Error(ErrorKind::kInvalidArgument,
                concat("output has ", columns, " numbers a box: must be 4, ",
                       has_objectness ? "1 that there is anything, " : "",
                       "and one for each class; pass transposed if the boxes are the columns"));
  Detections found;
  {
    const py::gil_scoped_release unlocked;
    decode_yolo(numbers, threshold, found);
  }
  return arrays_of(found);
}

py::tuple ssd(const Matrix& locations, const Matrix& scores, const Matrix& anchors, float threshold,
              const std::array<float, 2>& variances) {
  check_threshold("threshold", threshold);
  if (locations.ndim() != 2 || locations.shape(1) != 4) refuse("locations", "[boxes, 4]");
  if (anchors.ndim() != 2 || anchors.shape(1) != 4 || anchors.shape(0) != locations.shape(0))
    refuse("anchors", "[boxes, 4], as many as locations");
  if (scores.ndim() != 2 || scores.shape(1) < 2 || scores.shape(0) != locations.shape(0))
    refuse("scores", "[boxes, classes], as many as locations, the background first");
  Detections found;
  const SsdOutput numbers{.locations = locations.data(),
                          .scores = scores.data(),
                          .anchors = anchors.data(),
                          .boxes = locations.shape(0),
                          .classes = scores.shape(1),
                          .variances = variances};
  {
    const py::gil_scoped_release unlocked;
    decode_ssd(numbers, threshold, found);
  }
  return arrays_of(found);
}

// -1 if all are finite. All are looked at without a branch, and the place only once there is one.
py::ssize_t first_not_finite(const float* numbers, py::ssize_t n) {
  bool is_bad = false;
  for (py::ssize_t i = 0; i < n; ++i)
    is_bad |= (std::bit_cast<uint32_t>(numbers[i]) & 0x7f800000u) == 0x7f800000u;
  if (!is_bad) return -1;
  return std::find_if(numbers, numbers + n, [](float number) { return !std::isfinite(number); }) - numbers;
}

py::array_t<int32_t> suppress(const Matrix& boxes, const Vector& scores, const Classes& classes,
                              float max_overlap, bool across_classes, int64_t max_detections) {
  check_threshold("max_overlap", max_overlap);
  if (max_detections < 1)
    throw Error(ErrorKind::kInvalidArgument,
                concat("max_detections=", max_detections, ": must be at least 1"));
  if (boxes.ndim() != 2 || boxes.shape(1) != 4) refuse("boxes", "[n, 4] of x1, y1, x2, y2");
  const py::ssize_t n = boxes.shape(0);
  if (scores.ndim() != 1 || scores.shape(0) != n) refuse("scores", "[n], one for each box");
  if (classes.ndim() != 1 || classes.shape(0) != n)
    throw Error(ErrorKind::kInvalidArgument, "classes: must be an int32 array [n], one for each box");
  const auto size = static_cast<size_t>(n);
  if (const py::ssize_t place = first_not_finite(boxes.data(), 4 * n); place >= 0)
    throw Error(ErrorKind::kInvalidArgument, concat("boxes[", place / 4, "] is infinite or no number"));
  if (const py::ssize_t place = first_not_finite(scores.data(), n); place >= 0)
    throw Error(ErrorKind::kInvalidArgument, concat("scores[", place, "] is infinite or no number"));
  const DetectionsView given{{reinterpret_cast<const std::array<float, 4>*>(boxes.data()), size},
                             {scores.data(), size},
                             {classes.data(), size}};
  Suppression suppression;
  std::span<const int32_t> kept;
  {
    const py::gil_scoped_release unlocked;
    kept = suppression.run(kernels().pixels, given, {max_overlap, across_classes, max_detections});
  }
  py::array_t<int32_t> out(static_cast<py::ssize_t>(kept.size()));
  std::copy(kept.begin(), kept.end(), out.mutable_data());
  return out;
}

}  // namespace

void register_detections(py::module_& module) {
  module.def("decode_yolo", &yolo, py::arg("output").noconvert(), py::kw_only(), py::arg("threshold"),
             py::arg("objectness"), py::arg("transposed"),
             "(float32 [n, 4], float32 [n], int32 [n]): corners, scores and classes above the threshold.");
  module.def("decode_ssd", &ssd, py::arg("locations").noconvert(), py::arg("scores").noconvert(),
             py::arg("anchors").noconvert(), py::kw_only(), py::arg("threshold"), py::arg("variances"),
             "(float32 [n, 4], float32 [n], int32 [n]): corners, scores and classes above the threshold.");
  module.def("suppress_boxes", &suppress, py::arg("boxes").noconvert(), py::arg("scores").noconvert(),
             py::arg("classes").noconvert(), py::kw_only(), py::arg("max_overlap"), py::arg("across_classes"),
             py::arg("max_detections"), "int32 [kept]: the places of the boxes that stay, best first.");
}

}  // namespace headrace
