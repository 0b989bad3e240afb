// Where a model's folder, or a file of it, is: on disk, or among files in memory that stand for a folder.
//
// Readers of models take this instead of a path and ask it for files, so that a model that was decrypted into
// memory is read as any other.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory_file.h"

namespace headrace {

class ModelPath {
 public:
  ModelPath() = default;
  // On disk. Implicit: a path is what nearly every caller has.
  ModelPath(std::string path) : name_(std::move(path)) {}
  ModelPath(const char* path) : name_(path) {}
  // The folder that `files` are in; `name` stands in messages and is not opened.
  ModelPath(std::string name, std::shared_ptr<const MemoryFiles> files)
      : name_(std::move(name)), files_(std::move(files)) {}

  // What is at that relative path inside the folder.
  ModelPath operator/(std::string_view relative) const;
  // What is at that name in the folder that this is in.
  ModelPath beside(std::string_view name) const;
  // The path, for messages.
  const std::string& name() const { return name_; }
  bool is_in_memory() const { return files_ != nullptr; }
  bool exists() const;
  bool is_directory() const;
  // The files of a folder whose names end so, by name; folders in it are not entered.
  std::vector<ModelPath> files_ending(std::string_view ending) const;
  // The file's bytes; null on disk, and where there is no such file in memory.
  std::shared_ptr<const MemoryFile> memory() const;

 private:
  std::string name_;
  std::string inside_;  // among files_; "" is the folder itself
  std::shared_ptr<const MemoryFiles> files_;
};

}  // namespace headrace
