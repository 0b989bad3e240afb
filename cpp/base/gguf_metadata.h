// The key-value section of a GGUF file (versions 2 and 3, little endian): what stands before its tensors.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace headrace {

class GgufMetadata {
 public:
  // Reads the keys that begin with prefix and passes over the others. bytes: the file, or so much of its
  // beginning that the section is whole; must outlive this. Throws Error(kCorruptFile) with the place, and
  // Error(kUnsupported) for other versions.
  GgufMetadata(std::string_view bytes, std::string_view prefix, std::string name);

  const std::string& name() const { return name_; }
  // How many tensors the file says it has, and where their descriptions begin.
  uint64_t num_tensors() const { return num_tensors_; }
  size_t end() const { return end_; }

  // Nothing when the key is missing. Throws Error(kCorruptFile) when it is of another type.
  std::optional<std::string_view> find_string(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<int64_t> find_int(std::string_view key) const;
  std::optional<double> find_float(std::string_view key) const;
  std::optional<std::vector<std::string_view>> find_strings(std::string_view key) const;
  std::optional<std::vector<float>> find_floats(std::string_view key) const;
  std::optional<std::vector<int32_t>> find_ints(std::string_view key) const;  // of 32 bits

 private:
  enum Type : uint32_t {
    kUint8,
    kInt8,
    kUint16,
    kInt16,
    kUint32,
    kInt32,
    kFloat32,
    kBool,
    kString,
    kArray,
    kUint64,
    kInt64,
    kFloat64,
  };
  struct Value {
    uint32_t type = 0;
    uint32_t item_type = 0;  // of arrays
    uint64_t count = 0;      // of an array's items
    size_t at = 0;           // of the value, or of an array's first item
  };
  class Cursor;

  static size_t scalar_bytes(uint32_t type);  // 0: not a scalar
  const Value* find(std::string_view key) const;
  [[noreturn]] void fail_type(std::string_view key, const char* expected) const;

  std::string_view bytes_;
  std::string name_;
  uint64_t num_tensors_ = 0;
  size_t end_ = 0;
  std::unordered_map<std::string_view, Value> values_;
};

}  // namespace headrace
