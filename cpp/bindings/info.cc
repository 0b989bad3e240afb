// What this build is and what it runs on.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/cpu.h"
#include "base/threads.h"
#include "bindings/bindings.h"
#include "kernels/devices.h"
#include "kernels/dispatch.h"

namespace py = pybind11;

namespace headrace {
namespace {

std::vector<std::string> runnable_names() {
  std::vector<std::string> names;
  for (const Kernels* table : runnable_kernels()) names.emplace_back(table->name);
  return names;
}

}  // namespace

void register_info(py::module_& module) {
  module.attr("__version__") = HEADRACE_VERSION;
  module.def("cpu_model", &cpu_model, "The processor's own name for itself.");
  module.def("prefer_latency", &prefer_latency,
             "Asks the system to run this thread soon after it wakes; True where that is possible.");
  module.def("available_cpus", &available_cpus, "Processors this process may run on.");
  module.def(
      "isa", [] { return std::string(kernels().name); },
      "The kernel table in use. HEADRACE_ISA forces one; asking for what the processor lacks raises.");
  module.def("runnable_isas", &runnable_names, "The kernel tables that this processor can run, best first.");
  module.def(
      "register_devices",
      [](const py::capsule& factory) {
        // Checked by its name, as every capsule is.
        register_devices(
            static_cast<const cuda::DeviceFactory*>(PyCapsule_GetPointer(factory.ptr(), "headrace.devices")));
      },
      py::arg("factory"), "Makes the GPUs known that headrace._cuda.factory() gives.");
  module.def("known_isas", &known_kernel_names, "The kernel tables in this build, best first.");
}

}  // namespace headrace
