#include "base/gguf_metadata.h"

#include <cstring>

#include "base/byte_cursor.h"
#include "base/error.h"

namespace headrace {

class GgufMetadata::Cursor : public ByteCursor {
 public:
  Cursor(std::string_view bytes, const std::string& name, size_t at = 0)
      : ByteCursor(bytes, name, "GGUF metadata", at) {}

  std::string_view string() { return take(number<uint64_t>()); }
  // Passes over `count` items of a type that is at most `depth` arrays deep.
  void skip(uint32_t type, uint64_t count, int depth) {
    if (const size_t size = scalar_bytes(type); size != 0) {
      if (count > left() / size) fail("an array is larger than the file");
      take(count * size);
      return;
    }
    for (uint64_t i = 0; i < count; ++i) {
      if (type == kString) {
        string();
      } else if (type == kArray && depth > 0) {
        const auto item_type = number<uint32_t>();
        skip(item_type, number<uint64_t>(), depth - 1);
      } else {
        fail("a value of unknown type, or arrays too deep");
      }
    }
  }
};

GgufMetadata::GgufMetadata(std::string_view bytes, std::string_view prefix, std::string name)
    : bytes_(bytes), name_(std::move(name)) {
  Cursor cursor(bytes_, name_);
  if (cursor.take(4) != "GGUF") cursor.fail("the file does not begin with GGUF");
  const auto version = cursor.number<uint32_t>();
  if (version != 2 && version != 3)
    throw Error(ErrorKind::kUnsupported,
                concat(name_, ": GGUF version ", version, " is not supported; supported: 2 and 3"));
  num_tensors_ = cursor.number<uint64_t>();
  const auto count = cursor.number<uint64_t>();
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view key = cursor.string();
    Value value;
    value.type = cursor.number<uint32_t>();
    uint32_t item_type = value.type;
    uint64_t num_items = 1;
    if (value.type == kArray) {
      item_type = value.item_type = cursor.number<uint32_t>();
      num_items = value.count = cursor.number<uint64_t>();
    }
    value.at = cursor.at();
    constexpr int kMaxDepth = 4;
    cursor.skip(item_type, num_items, kMaxDepth);
    if (key.starts_with(prefix) && !values_.try_emplace(key, value).second)
      cursor.fail("a key is there twice");
  }
  end_ = cursor.at();
}

size_t GgufMetadata::scalar_bytes(uint32_t type) {
  switch (type) {
    case kUint8:
    case kInt8:
    case kBool:
      return 1;
    case kUint16:
    case kInt16:
      return 2;
    case kUint32:
    case kInt32:
    case kFloat32:
      return 4;
    case kUint64:
    case kInt64:
    case kFloat64:
      return 8;
    default:
      return 0;
  }
}

const GgufMetadata::Value* GgufMetadata::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

void GgufMetadata::fail_type(std::string_view key, const char* expected) const {
  throw Error(ErrorKind::kCorruptFile, concat(name_, ": the key '", key, "' must be ", expected));
}

std::optional<std::string_view> GgufMetadata::find_string(std::string_view key) const {
  const Value* const value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != kString) fail_type(key, "a string");
  return Cursor(bytes_, name_, value->at).string();
}

std::optional<bool> GgufMetadata::find_bool(std::string_view key) const {
  const Value* const value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != kBool) fail_type(key, "a boolean");
  return Cursor(bytes_, name_, value->at).number<uint8_t>() != 0;
}

std::optional<int64_t> GgufMetadata::find_int(std::string_view key) const {
  const Value* const value = find(key);
  if (value == nullptr) return std::nullopt;
  Cursor cursor(bytes_, name_, value->at);
  if (value->type == kUint32) return cursor.number<uint32_t>();
  if (value->type == kInt32) return cursor.number<int32_t>();
  fail_type(key, "an integer of 32 bits");
}

std::optional<double> GgufMetadata::find_float(std::string_view key) const {
  const Value* const value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != kFloat32) fail_type(key, "a float of 32 bits");
  return Cursor(bytes_, name_, value->at).number<float>();
}

std::optional<std::vector<std::string_view>> GgufMetadata::find_strings(std::string_view key) const {
  const Value* const value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != kArray || value->item_type != kString) fail_type(key, "an array of strings");
  Cursor cursor(bytes_, name_, value->at);
  std::vector<std::string_view> strings;
  strings.reserve(value->count);  // each was passed over before, so there are so many
  for (uint64_t i = 0; i < value->count; ++i) strings.push_back(cursor.string());
  return strings;
}

std::optional<std::vector<float>> GgufMetadata::find_floats(std::string_view key) const {
  const Value* const value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != kArray || value->item_type != kFloat32) fail_type(key, "an array of floats");
  std::vector<float> numbers(value->count);
  if (!numbers.empty()) std::memcpy(numbers.data(), bytes_.data() + value->at, value->count * sizeof(float));
  return numbers;
}

std::optional<std::vector<int32_t>> GgufMetadata::find_ints(std::string_view key) const {
  const Value* const value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != kArray || (value->item_type != kInt32 && value->item_type != kUint32))
    fail_type(key, "an array of integers of 32 bits");
  std::vector<int32_t> numbers(value->count);
  if (!numbers.empty())
    std::memcpy(numbers.data(), bytes_.data() + value->at, value->count * sizeof(int32_t));
  return numbers;
}

}  // namespace headrace
