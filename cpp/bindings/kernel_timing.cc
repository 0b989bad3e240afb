// How fast kernels run, what the registers could do at most, and how fast memory is read. The GIL is
// released.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "bindings/bindings.h"
#include "bindings/kernel_run.h"
#include "kernels/dispatch.h"
#include "tensor/buffer.h"

namespace py = pybind11;

namespace headrace {
namespace {

constexpr int kSamples = 15;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void check(int threads, double seconds) {
  if (threads < 1 || threads > 1024)
    throw Error(ErrorKind::kInvalidArgument, concat("threads=", threads, ": must be between 1 and 1024"));
  if (!(seconds > 0 && seconds <= 60))
    throw Error(ErrorKind::kInvalidArgument, concat("seconds=", seconds, ": must be above 0, at most 60"));
}

// Seconds of one run, `kSamples` times over about `seconds` in all; fewer times where one run takes long. A
// sample is as many runs as it takes to be well above the clock's steps.
std::vector<double> samples_of(const std::function<void()>& work, double seconds) {
  work();  // pages and caches
  const double once = std::max(seconds_of(work), 1e-9);
  const auto runs = static_cast<int64_t>(std::max(1.0, seconds / kSamples / once));
  std::vector<double> samples;
  double spent = 0;
  while (samples.size() < kSamples && (samples.size() < 3 || spent < 2 * seconds)) {
    const double taken = seconds_of([&] {
      for (int64_t run = 0; run < runs; ++run) work();
    });
    spent += taken;
    samples.push_back(taken / static_cast<double>(runs));
  }
  return samples;
}

struct KernelTimes {
  std::vector<double> seconds;  // of one run, a number for each sample
  double operations;
  double bytes;
};

KernelTimes time_kernel(const std::string& isa, const KernelCase& wanted, int threads, double seconds) {
  check(threads, seconds);
  const KernelRun made = make_kernel_run(kernels_by_name(isa), wanted, threads);
  ThreadPool pool(threads);
  return {samples_of([&] { made.run(pool); }, seconds), made.operations, made.bytes};
}

// The best of several short runs: what the registers can do, without memory and without neighbours.
double measure_peak_gflops(const std::string& isa, int threads, const std::string& precision) {
  check(threads, 1);
  const Kernels& table = kernels_by_name(isa);
  const NarrowKernels* const narrow = narrow_kernels(table, precision_by_name(precision, table));
  const auto peak = narrow ? narrow->peak_ops : table.peak_flops;
  ThreadPool pool(threads);
  // About a millisecond of one thread, whatever the table.
  int64_t rounds = 1000;
  while (seconds_of([&] { peak(rounds); }) < 1e-3 && rounds < int64_t{1} << 32) rounds *= 2;
  double best = 0;
  for (int run = 0; run < 20; ++run) {
    std::vector<int64_t> done(static_cast<size_t>(pool.threads()) * 8);  // a cache line for each
    const double elapsed = seconds_of([&] {
      pool.parallel_for(pool.threads() * 8,
                        [&](int64_t, int thread) { done[static_cast<size_t>(thread) * 8] += peak(rounds); });
    });
    int64_t total = 0;
    for (const int64_t count : done) total += count;
    best = std::max(best, static_cast<double>(total) / elapsed * 1e-9);
  }
  return best;
}

// Sums of 16-byte words in eight registers: more than any memory gives, on every processor.
using Words = uint64_t __attribute__((vector_size(16)));

uint64_t sum_of(const Words* words, int64_t count) {
  Words a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{};
  for (int64_t i = 0; i + 8 <= count; i += 8) {
    a += words[i];
    b += words[i + 1];
    c += words[i + 2];
    d += words[i + 3];
    e += words[i + 4];
    f += words[i + 5];
    g += words[i + 6];
    h += words[i + 7];
  }
  const Words sum = (a + b) + (c + d) + ((e + f) + (g + h));
  return sum[0] + sum[1];
}

std::vector<double> time_reading(int64_t bytes, int threads, double seconds) {
  check(threads, seconds);
  constexpr int64_t kPiece = 1 << 20;
  if (bytes < kPiece || bytes > int64_t{64} << 30)
    throw Error(ErrorKind::kInvalidArgument,
                concat("bytes=", bytes, ": must be between ", kPiece, " and 64 GiB"));
  const int64_t pieces = bytes / kPiece;
  Buffer memory(pieces * kPiece / static_cast<int64_t>(sizeof(float)));
  std::fill_n(memory.data(), memory.size(), 1.0f);  // or all pages would be one page of zeros
  const auto* const words = reinterpret_cast<const Words*>(memory.data());
  constexpr auto kWords = kPiece / static_cast<int64_t>(sizeof(Words));
  std::vector<uint64_t> sums(static_cast<size_t>(threads) * 8);  // a cache line for each
  ThreadPool pool(threads);
  std::vector<double> samples = samples_of(
      [&] {
        pool.parallel_for(pieces, [&](int64_t piece, int thread) {
          sums[static_cast<size_t>(thread) * 8] |= sum_of(words + piece * kWords, kWords);
        });
      },
      seconds);
  uint64_t any = 0;
  for (const uint64_t sum : sums) any |= sum;
  if (any == 0) throw Error(ErrorKind::kInternal, "memory that was written was read as zeros");
  for (double& sample : samples) sample = static_cast<double>(pieces * kPiece) / sample * 1e-9;
  return samples;
}

}  // namespace

void register_kernel_timing(py::module_& module) {
  py::class_<KernelTimes>(module, "KernelTimes", "How long one run of a kernel took, and what it did.")
      .def_readonly("seconds", &KernelTimes::seconds, "Of one run, a number for each sample.")
      .def_readonly("operations", &KernelTimes::operations, "Of one run.")
      .def_readonly("bytes", &KernelTimes::bytes, "Of one run: each array read or written once.");
  module.def(
      "time_kernel",
      [](const std::string& isa, const std::string& kernel, const std::string& precision, int64_t rows,
         int64_t n, int64_t k, bool gelu, bool residual, int threads, double seconds) {
        const KernelCase wanted{.kernel = kernel,
                                .precision = precision_by_name(precision, kernels_by_name(isa)),
                                .rows = rows,
                                .n = n,
                                .k = k,
                                .gelu = gelu,
                                .residual = residual};
        const py::gil_scoped_release unlocked;
        return time_kernel(isa, wanted, threads, seconds);
      },
      py::arg("isa"), py::arg("kernel"), py::kw_only(), py::arg("precision") = "f32", py::arg("rows"),
      py::arg("n"), py::arg("k") = 1, py::arg("gelu") = false, py::arg("residual") = false,
      py::arg("threads") = 1, py::arg("seconds") = 0.1,
      "Runs one kernel of a table for about so many seconds on arrays of its own.");
  module.def("measure_peak_gflops", &measure_peak_gflops, py::arg("isa") = "auto", py::arg("threads") = 1,
             py::arg("precision") = "f32", py::call_guard<py::gil_scoped_release>(),
             "GFLOP/s (GOP/s in int8) on registers alone: the ceiling for every kernel of that table.");
  module.def("time_reading", &time_reading, py::arg("bytes"), py::arg("threads") = 1,
             py::arg("seconds") = 0.1, py::call_guard<py::gil_scoped_release>(),
             "GB/s at which so much memory is read from end to end, a number for each sample.");
}

}  // namespace headrace
