// The GPUs of this machine, by the CUDA runtime; see kernels.cu.
#pragma once

#include <string>

#include "kernels/cuda/device_table.h"

namespace headrace::cuda {

// For register_devices() (devices.h).
const DeviceFactory& factory();

// 0 where none can be used.
int device_count();
// "" where at least one can be used.
std::string why_unavailable();
// "NVIDIA H100 80GB HBM3"; "" where there is none of that number.
std::string device_name(int index);

}  // namespace headrace::cuda
