// GgufFile for Python: the tensors of a GGUF as f32 arrays.
#include "tensor/gguf.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace headrace {
namespace {

py::array_t<float> tensor(const GgufFile& file, const std::string& name) {
  const GgufTensor* const found = file.find(name);
  if (!found)
    throw Error(ErrorKind::kInvalidArgument, concat(file.name(), ": there is no tensor '", name, "'"));
  py::array_t<float> out(found->shape);
  float* const data = out.mutable_data();
  const py::gil_scoped_release unlocked;
  dequantize(found->type, found->bytes, data);
  return out;
}

}  // namespace

void register_gguf(py::module_& module) {
  py::class_<GgufFile>(module, "GgufFile", "A GGUF file, llama.cpp's format, as read-only memory.")
      .def_static(
          "open", [](const std::string& path) { return GgufFile::open(path); }, py::arg("path"),
          py::call_guard<py::gil_scoped_release>(),
          "Raises ModelNotFoundError, CorruptFileError or UnsupportedError.")
      .def("names",
           [](const GgufFile& file) {
             std::vector<std::string_view> names;
             for (const GgufTensor& each : file.tensors()) names.push_back(each.name);
             return names;
           })
      .def("tensor", &tensor, py::arg("name"), "float32: the numbers that the tensor stands for.");
}

}  // namespace headrace
