// Tensors to JSON and back: embedding_objects_json and tensor_json write, json_numbers and json_tensors read.
#include "text/vector_json.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "bindings/bindings.h"
#include "text/number_json.h"

namespace py = pybind11;

namespace headrace {
namespace {

py::bytes embedding_objects_json(const py::array_t<float, 0>& vectors, bool base64) {
  const py::buffer_info info = vectors.request();
  const bool contiguous = info.ndim == 2 && info.strides[1] == static_cast<py::ssize_t>(sizeof(float)) &&
                          (info.shape[0] <= 1 || info.strides[0] == info.shape[1] * info.strides[1]);
  if (!contiguous) {
    throw Error(ErrorKind::kInvalidArgument,
                concat("vectors: got ", info.ndim, " dimensions of format '", info.format,
                       "'; must be a C-contiguous float32 array [n, columns]"));
  }
  const auto encoding = base64 ? VectorEncoding::kBase64 : VectorEncoding::kDecimal;
  std::string out;
  {
    const py::gil_scoped_release release;  // `info` keeps the array's memory in place
    append_embedding_objects({static_cast<const float*>(info.ptr), static_cast<size_t>(info.size)},
                             info.shape[1], encoding, out);
  }
  return py::bytes(out);
}

py::bytes tensor_json(const py::array_t<float, py::array::c_style>& tensor) {
  const std::vector<int64_t> shape(tensor.shape(), tensor.shape() + tensor.ndim());
  const std::span<const float> values(tensor.data(), static_cast<size_t>(tensor.size()));
  std::string out;
  {
    const py::gil_scoped_release release;
    append_tensor(values, shape, out);
  }
  return py::bytes(out);
}

py::array array_of(const JsonNumbers& found) {
  if (!found.are_integers || found.values.empty()) {
    py::array_t<double> array(found.shape);
    std::copy(found.values.begin(), found.values.end(), array.mutable_data());
    return array;
  }
  py::array_t<int64_t> array(found.shape);
  std::transform(found.values.begin(), found.values.end(), array.mutable_data(),
                 [](double value) { return static_cast<int64_t>(value); });
  return array;
}

std::optional<py::array> json_numbers(const py::bytes& json) {
  const auto found = read_json_numbers(std::string_view(json));
  if (!found) return std::nullopt;
  return array_of(*found);
}

std::optional<py::dict> json_tensors(const py::bytes& json) {
  const auto found = read_json_tensors(std::string_view(json));
  if (!found) return std::nullopt;
  py::dict dict;
  for (const auto& [name, numbers] : *found) dict[py::str(name)] = array_of(numbers);
  return dict;
}

}  // namespace

void register_vector_json(py::module_& module) {
  module.def("embedding_objects_json", &embedding_objects_json, py::arg("vectors").noconvert(),
             py::arg("base64"),
             "The JSON array of embedding objects for float32 vectors [n, columns], as bytes.");
  module.def(
      "tensor_json", &tensor_json, py::arg("tensor").noconvert(),
      "A C-contiguous float32 array of any shape as nested JSON arrays, as bytes; NaN and infinity are "
      "null.");
  module.def("json_numbers", &json_numbers, py::arg("json"),
             "The array that a JSON value of numbers is, int64 or float64 as numpy.asarray has it; None for "
             "anything "
             "but numbers in nested arrays of equal lengths, and for what is not exact.");
  module.def("json_tensors", &json_tensors, py::arg("json"),
             "The arrays that the members of a JSON object are, by name; None where one of them is none.");
}

}  // namespace headrace
