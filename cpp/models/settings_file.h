// The small JSON files of a model directory, read under a size limit.
#pragma once

#include <string>

namespace headrace {

bool file_exists(const std::string& path);

// The GGUF that a model is: the path itself, or the only .gguf of a directory without config.json; "" where
// there is none. Throws kInvalidArgument for a directory with several.
std::string gguf_path(const std::string& model);

// The whole file. Throws kNotFound (no such file, or not readable) or kCorruptFile (no regular file, or
// larger than any settings file).
std::string read_settings_file(const std::string& path);

}  // namespace headrace
