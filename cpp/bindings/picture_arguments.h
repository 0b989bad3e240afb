// Pictures that come from Python.
#pragma once

#include <pybind11/numpy.h>

#include <string>

#include "media/picture.h"

namespace headrace {

using Pixels = pybind11::array_t<uint8_t, pybind11::array::c_style>;

// The array's own memory; `name` is what the caller calls it. Throws Error(kInvalidArgument) for another
// shape.
Picture picture_argument(const Pixels& pixels, const std::string& name);

}  // namespace headrace
