// What the processor at hand can run. Asked once; compiled for the baseline so that it runs anywhere.
#pragma once

#include <string>

namespace headrace {

struct CpuFeatures {
  bool avx2 = false;         // AVX2, FMA and F16C
  bool avx2_vnni = false;    // those with AVX-VNNI
  bool avx512 = false;       // AVX-512 F, BW, DQ and VL, with AVX2 and FMA
  bool avx512_vnni = false;  // those with VNNI
  bool avx512_bf16 = false;  // those with VNNI and BF16
  // Dot products of bf16 have half the rate of f32 multiply-adds, not twice: Intel's, which leave them to AMX
  // (Emerald Rapids: 105 GFLOP/s in registers, f32 214; AMD's Zen 5: 498 and 246).
  bool slow_bf16 = false;
  bool amx = false;  // those with AMX tiles for bf16 and int8, which this process may use
};

// Features that both the processor and the operating system offer (the latter must save the wide registers).
const CpuFeatures& cpu_features();

// The processor's own name for itself, e.g. "AMD EPYC 9755 128-Core Processor"; "unknown" where it has none.
std::string cpu_model();

// Processors this process may run on: its affinity mask, not the machine's total. At least 1.
int available_cpus();

}  // namespace headrace
