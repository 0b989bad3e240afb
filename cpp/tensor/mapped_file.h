// A file as read-only memory. Pages come in when they are first touched and are shared between processes.
//
// The file must not shrink while it is mapped: the system ends a process that touches a page beyond the end.
// Replace a model's files by renaming new ones into place, as downloaders do, not by writing into them.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace headrace {

class MappedFile {
 public:
  // Throws kNotFound when there is no such file or it may not be read, kCorruptFile when the path names
  // something other than a regular file. An empty file maps to no bytes.
  static MappedFile open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}

  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace headrace
