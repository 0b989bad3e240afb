// The small JSON files of a model directory, read under a size limit.
#pragma once

#include <optional>
#include <string>

#include "base/model_path.h"

namespace headrace {

// The GGUF that a model is: the path itself, or the only .gguf of a directory without config.json; nothing
// where there is none. Throws kInvalidArgument for a directory with several.
std::optional<ModelPath> gguf_path(const ModelPath& model);

// The whole file. Throws kNotFound (no such file, or not readable) or kCorruptFile (no regular file, or
// larger than any settings file).
std::string read_settings_file(const ModelPath& source);

}  // namespace headrace
