// Chooses the kernel table for this processor, best first, reference last.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace headrace {

// The tables this processor can run, best first; never empty, the last is the reference.
std::span<const Kernels* const> runnable_kernels();

// The table in use: the environment variable HEADRACE_ISA names one, else the best. Chosen once per process.
// Throws Error(kUnsupported) when HEADRACE_ISA names a table that is unknown or that this processor cannot
// run.
const Kernels& kernels();

// The table of that name; "" or "auto" gives the best. Throws Error(kUnsupported) as kernels() does.
const Kernels& kernels_by_name(const std::string& name);

// Every name this build knows, best first, whether it runs here or not.
std::vector<std::string> known_kernel_names();

}  // namespace headrace
