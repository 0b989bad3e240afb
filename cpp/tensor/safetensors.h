// Reads safetensors, the weight format without code: https://huggingface.co/docs/safetensors
//
//   +-----------------+----------------------+--------------------------------------+
//   | u64 LE: n       | n bytes of JSON      | data: tensors end to end, row-major  |
//   +-----------------+----------------------+--------------------------------------+
//     {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {"k": "v"}}
//
// Nothing in the header is believed: each number is checked against the file's real size, without overflow,
// before it is used. Offsets count from the start of the data. Sorted, the tensors must cover the data
// without a hole or an overlap, as the reference implementation demands. Stricter than the reference:
// names (and metadata keys, and a tensor's own fields) are unique, a tensor is described by an object,
// at most 8 dimensions, 1,000,000 tensors, 1 KiB to a name, JSON nested at most 64 deep.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/mapped_file.h"

namespace headrace {

struct TensorView {
  std::string_view name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // little-endian; the format promises no alignment, so copy, do not cast
};

class SafetensorsFile {
 public:
  static constexpr uint64_t kMaxHeaderBytes = 100'000'000;
  static constexpr size_t kMaxTensors = 1'000'000;
  static constexpr size_t kMaxNameBytes = 1024;
  static constexpr size_t kMaxRank = 8;

  // Throws kNotFound when there is no such file, kCorruptFile when it is not a sound safetensors file.
  static SafetensorsFile open(const ModelPath& path);
  // The same for a file that is in memory and stays there; `name` is used in messages.
  static SafetensorsFile from_bytes(std::span<const std::byte> bytes, std::string name);

  SafetensorsFile(SafetensorsFile&&) = default;
  SafetensorsFile& operator=(SafetensorsFile&&) = default;

  // The tensor of that name, or null; O(log n).
  const TensorView* find(std::string_view name) const;
  // find(), but throws kCorruptFile that names the file when there is none.
  const TensorView& at(std::string_view name) const;
  // All of them, in the order of their data.
  std::span<const TensorView> tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Everything after the header.
  std::span<const std::byte> data() const { return data_; }
  const std::string& name() const { return name_; }

 private:
  friend class SafetensorsParser;
  explicit SafetensorsFile(std::string name) : name_(std::move(name)) {}

  std::string name_;
  std::optional<MappedFile> file_;  // none when the bytes belong to the caller
  std::span<const std::byte> data_;
  std::vector<char> names_;  // all names end to end; the views point here, also after a move
  std::vector<TensorView> tensors_;
  std::vector<uint32_t> by_name_;  // indices into tensors_, sorted by name
  std::map<std::string, std::string> metadata_;
};

}  // namespace headrace
