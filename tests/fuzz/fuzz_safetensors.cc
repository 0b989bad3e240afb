// Any bytes either parse into tensors that lie within them, or raise kCorruptFile.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "tensor/safetensors.h"

namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headrace;
  try {
    const auto file = SafetensorsFile::from_bytes({reinterpret_cast<const std::byte*>(data), size}, "input");
    uint64_t covered = 0;
    for (const TensorView& tensor : file.tensors()) {
      uint64_t bits = static_cast<uint64_t>(dtype_bits(tensor.dtype));
      for (const int64_t extent : tensor.shape) bits *= static_cast<uint64_t>(extent);
      check(bits == 8 * tensor.bytes.size());
      check(tensor.bytes.data() == file.data().data() + covered);
      check(file.find(tensor.name) == &tensor);
      covered += tensor.bytes.size();
    }
    check(covered == file.data().size());
  } catch (const Error& error) {
    check(error.kind() == ErrorKind::kCorruptFile);
  }
  return 0;
}
