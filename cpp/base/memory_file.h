// A file whose bytes are in memory and in no file: what a sealed model is decrypted into.
//
// Pages come from the system and go back to it when the last holder lets go, so nothing of them stays in a
// heap; they are left out of core dumps.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

namespace headrace {

class MemoryFile {
 public:
  // Zeros. Throws std::bad_alloc.
  explicit MemoryFile(size_t size);
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile();

  // Whoever made the file fills it before it gives it to a reader; readers take the const form.
  std::span<std::byte> bytes() { return {data_, size_}; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Files by their path inside a model's folder, with '/' between folders: "1_Dense/model.safetensors".
using MemoryFiles = std::map<std::string, std::shared_ptr<const MemoryFile>, std::less<>>;

}  // namespace headrace
