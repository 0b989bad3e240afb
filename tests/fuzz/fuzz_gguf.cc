// Any bytes either parse into tensors that lie within them, or raise kCorruptFile or kUnsupported.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "tensor/gguf.h"

namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headrace;
  const std::span<const std::byte> bytes{reinterpret_cast<const std::byte*>(data), size};
  try {
    const auto file = GgufFile::from_bytes(bytes, "input");
    for (const GgufTensor& tensor : file.tensors()) {
      const GgufBlock block = gguf_block(tensor.type);
      check(tensor.bytes.data() >= bytes.data() && tensor.bytes.size() <= size);
      check(tensor.bytes.data() + tensor.bytes.size() <= bytes.data() + size);
      check(static_cast<int64_t>(tensor.bytes.size()) == tensor.numbers() / block.numbers * block.bytes);
      check(file.find(tensor.name) == &tensor);
      std::vector<float> numbers(static_cast<size_t>(tensor.numbers()));
      dequantize(tensor.type, tensor.bytes, numbers.data());
    }
  } catch (const Error& error) {
    check(error.kind() == ErrorKind::kCorruptFile || error.kind() == ErrorKind::kUnsupported);
  }
  return 0;
}
