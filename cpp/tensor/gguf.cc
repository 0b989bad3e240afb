#include "tensor/gguf.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "base/byte_cursor.h"
#include "base/error.h"

namespace headrace {
namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The product, or nothing where it is beyond 2^62.
std::optional<int64_t> product(const std::vector<int64_t>& sizes) {
  int64_t result = 1;
  for (const int64_t size : sizes) {
    if (size != 0 && result > (int64_t{1} << 62) / size) return std::nullopt;
    result *= size;
  }
  return result;
}

}  // namespace

int64_t GgufTensor::numbers() const { return *product(shape); }

GgufFile GgufFile::open(const ModelPath& path) {
  MappedFile file = MappedFile::open(path);
  GgufFile gguf(file.bytes(), path.name());
  gguf.file_.push_back(std::move(file));
  return gguf;
}

GgufFile GgufFile::from_bytes(std::span<const std::byte> bytes, std::string name) {
  return GgufFile(bytes, std::move(name));
}

GgufFile::GgufFile(std::span<const std::byte> bytes, std::string name)
    : name_(std::move(name)), bytes_(bytes), metadata_(text_of(bytes), "", name_) {
  read_tensors();
}

void GgufFile::read_tensors() {
  const uint64_t count = metadata_.num_tensors();
  ByteCursor cursor(text_of(bytes_), name_, "GGUF tensors", metadata_.end());
  if (count > kMaxTensors) cursor.fail(concat(count, " tensors; at most ", kMaxTensors, " are allowed"));
  const int64_t alignment = metadata_.find_int("general.alignment").value_or(32);
  if (alignment < 1 || alignment > 1 << 20 || (alignment & (alignment - 1)) != 0)
    cursor.fail(concat("general.alignment ", alignment, " is not a power of two up to 1048576"));
  std::vector<uint64_t> offsets;
  for (uint64_t i = 0; i < count; ++i) {
    GgufTensor tensor;
    const auto name_bytes = cursor.number<uint64_t>();
    if (name_bytes > kMaxNameBytes) cursor.fail(concat("a name of ", name_bytes, " bytes"));
    tensor.name = cursor.take(name_bytes);
    const auto rank = cursor.number<uint32_t>();
    if (rank < 1 || rank > kMaxRank) cursor.fail(concat(rank, " dimensions; allowed are 1 to ", kMaxRank));
    for (uint32_t d = 0; d < rank; ++d) {
      const auto size = cursor.number<uint64_t>();
      if (size < 1 || size > uint64_t{1} << 40) cursor.fail(concat("a size of ", size));
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    const auto type = cursor.number<uint32_t>();
    if (!gguf_block(type))
      throw Error(
          ErrorKind::kUnsupported,
          concat(name_, ": the tensor '", tensor.name, "' has type ", type,
                 "; supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K"));
    tensor.type = static_cast<GgufType>(type);
    offsets.push_back(cursor.number<uint64_t>());
    if (!by_name_.try_emplace(tensor.name, tensors_.size()).second)
      cursor.fail(concat("two tensors are named '", tensor.name, "'"));
    tensors_.push_back(std::move(tensor));
  }
  // Data begins at the next multiple of the alignment.
  const auto unit = static_cast<uint64_t>(alignment);
  const uint64_t data = (cursor.at() + unit - 1) / unit * unit;
  std::vector<std::pair<uint64_t, uint64_t>> places;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    GgufTensor& tensor = tensors_[i];
    const GgufBlock block = gguf_block(tensor.type);
    const auto numbers = product(tensor.shape);
    if (tensor.shape.back() % block.numbers != 0)
      cursor.fail(concat("rows of '", tensor.name, "' hold ", tensor.shape.back(),
                         " numbers, no multiple of the ", block.numbers, " in a block of ", block.name));
    if (!numbers || *numbers / block.numbers > std::numeric_limits<int64_t>::max() / block.bytes)
      cursor.fail(concat("the tensor '", tensor.name, "' is larger than any file"));
    const auto size = static_cast<uint64_t>(*numbers / block.numbers * block.bytes);
    if (offsets[i] % unit != 0)
      cursor.fail(concat("the tensor '", tensor.name, "' is not aligned to ", alignment, " bytes"));
    if (data > bytes_.size() || offsets[i] > bytes_.size() - data || size > bytes_.size() - data - offsets[i])
      cursor.fail(concat("the tensor '", tensor.name, "' lies behind the end of the file"));
    tensor.bytes = bytes_.subspan(data + offsets[i], size);
    places.emplace_back(offsets[i], offsets[i] + size);
  }
  std::sort(places.begin(), places.end());
  for (size_t i = 1; i < places.size(); ++i)
    if (places[i].first < places[i - 1].second) cursor.fail("two tensors overlap");
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace headrace
