// softmax_top_k: the best of each row of logits, with their probabilities.
#include "models/scores.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "base/error.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace headrace {
namespace {

py::tuple softmax_top_k(const py::array_t<float, py::array::c_style>& logits, int64_t k) {
  if (logits.ndim() != 2 || logits.shape(1) < 1)
    throw Error(ErrorKind::kInvalidArgument, "logits: must be a float32 array [rows, columns]");
  const int64_t rows = logits.shape(0), columns = logits.shape(1);
  if (k < 1 || k > columns)
    throw Error(ErrorKind::kInvalidArgument, concat("top_k=", k, ": must be between 1 and ", columns));
  py::array_t<int32_t> indices({rows, k});
  py::array_t<float> scores({rows, k});
  const float* in = logits.data();
  int32_t* index = indices.mutable_data();
  float* score = scores.mutable_data();
  {
    const py::gil_scoped_release release;
    TopK work;
    for (int64_t row = 0; row < rows; ++row)
      work.softmax({in + row * columns, static_cast<size_t>(columns)}, k, index + row * k, score + row * k);
  }
  return py::make_tuple(indices, scores);
}

}  // namespace

void register_scores(py::module_& module) {
  module.def(
      "softmax_top_k", &softmax_top_k, py::arg("logits").noconvert(), py::arg("top_k"),
      "(int32 [rows, top_k], float32 [rows, top_k]): the columns with the largest logits, best first, of "
      "equal ones the first, and their share in the softmax of the whole row.");
}

}  // namespace headrace
