#include "models/settings_file.h"

#include <sys/stat.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/error.h"

namespace headrace {

constexpr int64_t kMaxConfigBytes = 16 << 20;

namespace {

void check_size(const std::string& path, int64_t size) {
  if (size > kMaxConfigBytes)
    throw Error(ErrorKind::kCorruptFile,
                concat(path, ": ", size, " bytes; a settings file has at most ", kMaxConfigBytes));
}

[[noreturn]] void fail_missing(const std::string& path) {
  throw Error(ErrorKind::kNotFound, concat(path,
                                           ": no such file; a model directory needs config.json, "
                                           "tokenizer.json and model.safetensors"));
}

}  // namespace

std::optional<ModelPath> gguf_path(const ModelPath& model) {
  if (!model.is_directory()) return model.name().ends_with(".gguf") ? std::optional(model) : std::nullopt;
  if ((model / "config.json").exists()) return std::nullopt;
  const std::vector<ModelPath> found = model.files_ending(".gguf");
  if (found.size() > 1)
    throw Error(ErrorKind::kInvalidArgument,
                concat(model.name(), ": there are ", found.size(), " .gguf files; give the path of one"));
  return found.empty() ? std::nullopt : std::optional(found.front());
}

std::string read_settings_file(const ModelPath& source) {
  const std::string& path = source.name();
  if (source.is_in_memory()) {
    const auto memory = source.memory();
    if (!memory) fail_missing(path);
    const std::span<const std::byte> bytes = memory->bytes();
    check_size(path, static_cast<int64_t>(bytes.size()));
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) fail_missing(path);
  if (!S_ISREG(status.st_mode)) throw Error(ErrorKind::kCorruptFile, concat(path, ": not a regular file"));
  check_size(path, status.st_size);
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw Error(ErrorKind::kNotFound, concat(path, ": cannot be read; check its permissions"));
  return std::move(text).str();
}

}  // namespace headrace
