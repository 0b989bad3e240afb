// What this build is and what it runs on.
#include <pybind11/pybind11.h>

#include "base/cpu.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace headrace {

void register_info(py::module_& module) {
  module.attr("__version__") = HEADRACE_VERSION;
  module.def("cpu_model", &cpu_model, "The processor's own name for itself.");
}

}  // namespace headrace
