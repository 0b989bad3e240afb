// The tables that tests of kernels run on: those of this processor, and AMX with its tiles emulated wherever
// the rest of that table can run.
#pragma once

#include <vector>

#include "base/cpu.h"
#include "kernels/dispatch.h"

namespace headrace {

#if defined(HEADRACE_TILES_EMULATED)
extern const Kernels kernels_amx_emulated;
#endif

inline std::vector<const Kernels*> tables_under_test() {
  std::vector<const Kernels*> tables(runnable_kernels().begin(), runnable_kernels().end());
#if defined(HEADRACE_TILES_EMULATED)
  if (cpu_features().avx512_bf16) tables.insert(tables.begin(), &kernels_amx_emulated);
#endif
  return tables;
}

}  // namespace headrace
