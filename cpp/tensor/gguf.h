// Reads the tensors of a GGUF file, llama.cpp's format:
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
//   magic, version, tensors, keys | keys and values | per tensor: name, sizes, type, offset | padding | data
//
// Nothing in the file is believed: every number is checked against the file's real size, without overflow,
// before it is used. Names are unique, tensors are aligned and lie within the data; overlapping ones are
// refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/gguf_metadata.h"
#include "tensor/gguf_blocks.h"
#include "tensor/mapped_file.h"

namespace headrace {

struct GgufTensor {
  std::string_view name;
  GgufType type = GgufType::kF32;
  std::vector<int64_t> shape;  // row-major: the last size varies fastest
  std::span<const std::byte> bytes;

  int64_t numbers() const;
};

class GgufFile {
 public:
  static constexpr uint64_t kMaxTensors = 1'000'000;
  static constexpr size_t kMaxNameBytes = 1024;
  static constexpr uint32_t kMaxRank = 4;

  // Throws kNotFound when there is no such file, kCorruptFile when it is not a sound GGUF, kUnsupported for
  // another version or types of numbers that are not known.
  static GgufFile open(const ModelPath& path);
  // The same for a file in memory that stays there; `name` is used in messages.
  static GgufFile from_bytes(std::span<const std::byte> bytes, std::string name);

  GgufFile(GgufFile&&) = default;
  GgufFile& operator=(GgufFile&&) = default;

  const GgufMetadata& metadata() const { return metadata_; }
  // Null when there is none of that name.
  const GgufTensor* find(std::string_view name) const;
  std::span<const GgufTensor> tensors() const { return tensors_; }
  const std::string& name() const { return name_; }

 private:
  GgufFile(std::span<const std::byte> bytes, std::string name);
  void read_tensors();

  std::string name_;
  std::span<const std::byte> bytes_;
  std::vector<MappedFile> file_;  // one, or none when the bytes belong to the caller
  GgufMetadata metadata_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, size_t> by_name_;
};

}  // namespace headrace
