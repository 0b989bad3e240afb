// What this build is and what it runs on.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>

#include "base/cpu.h"
#include "base/threads.h"
#include "bindings/bindings.h"
#include "kernels/dispatch.h"

namespace py = pybind11;

namespace headrace {
namespace {

std::vector<std::string> runnable_names() {
  std::vector<std::string> names;
  for (const Kernels* table : runnable_kernels()) names.emplace_back(table->name);
  return names;
}

// The best of several short runs: what the registers can do, without memory and without neighbours.
double measure_peak_gflops(const std::string& isa, int threads) {
  const Kernels& table = kernels_by_name(isa);
  ThreadPool pool(std::max(1, threads));
  double best = 0;
  for (int run = 0; run < 20; ++run) {
    std::vector<int64_t> flops(static_cast<size_t>(pool.threads()));
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(pool.threads() * 8, [&](int64_t, int thread) {
      flops[static_cast<size_t>(thread)] += table.peak_flops(40'000);
    });
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    int64_t total = 0;
    for (const int64_t count : flops) total += count;
    best = std::max(best, static_cast<double>(total) / elapsed * 1e-9);
  }
  return best;
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
  module.def("known_isas", &known_kernel_names, "The kernel tables in this build, best first.");
  module.def("measure_peak_gflops", &measure_peak_gflops, py::arg("isa") = "auto", py::arg("threads") = 1,
             py::call_guard<py::gil_scoped_release>(),
             "GFLOP/s of multiply-adds on registers alone: the ceiling for every kernel of that table.");
}

}  // namespace headrace
