// A file as read-only memory. Pages come in when they are first touched and are shared between processes. A
// file that is in memory already is used where it is and kept alive.
//
// The file must not shrink while it is mapped: the system ends a process that touches a page beyond the end.
// Replace a model's files by renaming new ones into place, as downloaders do, not by writing into them.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/model_path.h"

namespace headrace {

class MappedFile {
 public:
  // Throws kNotFound when there is no such file or it may not be read, kCorruptFile when the path names
  // something other than a regular file. An empty file maps to no bytes.
  static MappedFile open(const ModelPath& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  explicit MappedFile(std::shared_ptr<const MemoryFile> memory);

  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::shared_ptr<const MemoryFile> memory_;  // whose the data is, where it is not mapped
};

}  // namespace headrace
