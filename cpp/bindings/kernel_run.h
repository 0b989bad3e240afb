// One kernel of a table on arrays of its own, to be timed: what it computes and moves, and a way to run it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "models/precision.h"

namespace headrace {

struct KernelCase {
  // "gemm" [rows, k] x [n, k], "layer_norm", "softmax", "gelu" and "encode" [rows, n], "attention": `rows`
  // tokens of n heads of k dimensions, "mean_pool": n sequences of `rows` tokens of k dimensions.
  std::string kernel;
  Precision precision = Precision::kF32;  // of gemm and encode
  int64_t rows = 1;
  int64_t n = 1;
  int64_t k = 1;
  bool gelu = false;      // of gemm: in its epilogue
  bool residual = false;  // of gemm: added in its epilogue
};

struct KernelRun {
  double operations = 0;  // of one run, see docs/kernels.md
  double bytes = 0;       // each array read or written once
  std::function<void(ThreadPool&)> run;
};

// The table must outlive the run, which is for pools of at most so many threads. Throws kInvalidArgument for
// other kernels and sizes, kUnsupported for encode in f32.
KernelRun make_kernel_run(const Kernels& kernels, const KernelCase& wanted, int threads);

}  // namespace headrace
