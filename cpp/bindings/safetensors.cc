// The header of a safetensors file, read by the core's own reader.
#include "tensor/safetensors.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace headrace {

void register_safetensors(py::module_& module) {
  module.def(
      "read_safetensors_header",
      [](const std::string& path) {
        const SafetensorsFile file = SafetensorsFile::open(path);
        py::dict tensors;
        for (const TensorView& tensor : file.tensors()) {
          const int64_t begin = tensor.bytes.data() - file.data().data();
          tensors[py::str(tensor.name.data(), tensor.name.size())] =
              py::make_tuple(dtype_name(tensor.dtype), py::cast(tensor.shape), begin,
                             begin + static_cast<int64_t>(tensor.bytes.size()));
        }
        return tensors;
      },
      py::arg("path"),
      "Tensor name -> (dtype, shape, begin, end); offsets count from the start of the data.");
}

}  // namespace headrace
