// Devices other than the processor. What runs on one is not linked here: it comes with a library that is
// loaded when such a device is asked for, and makes itself known.
#pragma once

#include <memory>
#include <string>

#include "kernels/cuda/device_table.h"

namespace headrace {

// Must stay. Throws Error(kInternal) where it was built from other headers.
void register_devices(const cuda::DeviceFactory* factory);

// "cuda", which is "cuda:0", "cuda:1" and so on: a table on a stream of its own. Throws Error: kUnsupported
// where no library is known or the device cannot be used, kInvalidArgument for other names.
std::unique_ptr<cuda::DeviceTable> open_device(const std::string& name);

}  // namespace headrace
