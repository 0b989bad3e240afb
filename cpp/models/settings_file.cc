#include "models/settings_file.h"

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/error.h"

namespace headrace {

constexpr int64_t kMaxConfigBytes = 16 << 20;

bool file_exists(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0;
}

std::string gguf_path(const std::string& model) {
  namespace fs = std::filesystem;
  const fs::path path(model);
  std::error_code error;
  if (!fs::is_directory(path, error)) return path.extension() == ".gguf" ? model : "";
  if (fs::exists(path / "config.json", error)) return "";
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(path, error))
    if (entry.path().extension() == ".gguf") found.push_back(entry.path().string());
  if (found.size() > 1)
    throw Error(ErrorKind::kInvalidArgument,
                concat(model, ": there are ", found.size(), " .gguf files; give the path of one"));
  return found.empty() ? "" : found.front();
}

std::string read_settings_file(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0)
    throw Error(ErrorKind::kNotFound, concat(path,
                                             ": no such file; a model directory needs config.json, "
                                             "tokenizer.json and model.safetensors"));
  if (!S_ISREG(status.st_mode)) throw Error(ErrorKind::kCorruptFile, concat(path, ": not a regular file"));
  if (status.st_size > kMaxConfigBytes)
    throw Error(ErrorKind::kCorruptFile,
                concat(path, ": ", status.st_size, " bytes; a settings file has at most ", kMaxConfigBytes));
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw Error(ErrorKind::kNotFound, concat(path, ": cannot be read; check its permissions"));
  return std::move(text).str();
}

}  // namespace headrace
