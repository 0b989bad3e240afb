// Models whose files Python has put into memory, as an argument.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "base/model_path.h"

namespace headrace {

// On disk, or the folder of the MemoryFiles in that dict (path inside the folder -> file), which is called
// `name` in messages. Needs the GIL. Empties the dict, so that the files' memory goes back as soon as the
// core lets go of it, and not when a Python frame ends.
ModelPath model_path(const std::string& name, const std::optional<pybind11::dict>& files);

}  // namespace headrace
