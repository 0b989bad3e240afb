// The Python module headrace._cuda: the kernel table on NVIDIA GPUs, for headrace._core to run models on. It
// links neither the core nor torch, and loads where there is no driver.
#include <pybind11/pybind11.h>

#include <vector>

#include "kernels/cuda/cuda_devices.h"

namespace py = pybind11;

PYBIND11_MODULE(_cuda, module) {
  module.doc() = "headrace on NVIDIA GPUs. Use device='cuda' of headrace.load; these names may change.";
  module.def("why_unavailable", &headrace::cuda::why_unavailable,
             "What keeps this machine from running models on a GPU; empty where nothing does.");
  module.def(
      "devices",
      [] {
        py::list names;
        for (int i = 0; i < headrace::cuda::device_count(); ++i) names.append(headrace::cuda::device_name(i));
        return names;
      },
      "The names of the GPUs, in the order of their numbers.");
  module.def(
      "factory", [] { return py::capsule(&headrace::cuda::factory(), "headrace.devices"); },
      "What _core.register_devices takes.");
}
