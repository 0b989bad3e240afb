// embedding_objects_json: float32 [n, columns] -> the bytes of the `data` array of an embeddings answer.
#include "text/vector_json.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "base/error.h"
#include "bindings/bindings.h"

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

}  // namespace

void register_vector_json(py::module_& module) {
  module.def("embedding_objects_json", &embedding_objects_json, py::arg("vectors").noconvert(),
             py::arg("base64"),
             "The JSON array of embedding objects for float32 vectors [n, columns], as bytes.");
  module.def(
      "tensor_json", &tensor_json, py::arg("tensor").noconvert(),
      "A C-contiguous float32 array of any shape as nested JSON arrays, as bytes; NaN and infinity are "
      "null.");
}

}  // namespace headrace
