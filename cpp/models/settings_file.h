// The small JSON files of a model directory, read under a size limit.
#pragma once

#include <string>

namespace headrace {

bool file_exists(const std::string& path);

// The whole file. Throws kNotFound (no such file, or not readable) or kCorruptFile (no regular file, or
// larger than any settings file).
std::string read_settings_file(const std::string& path);

}  // namespace headrace
