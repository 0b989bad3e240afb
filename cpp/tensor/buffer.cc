#include "tensor/buffer.h"

#include "base/error.h"
#include "base/pages.h"

#if defined(__SANITIZE_ADDRESS__)
#include <cstring>
#include <new>
#endif

namespace headrace {
namespace {

#if defined(__SANITIZE_ADDRESS__)
// Apart, so that AddressSanitizer sees who writes past a buffer's end.
constexpr std::align_val_t kCacheLine{64};
void* take(size_t bytes) { return std::memset(::operator new(bytes, kCacheLine), 0, bytes); }
void give_back(void* memory, size_t) { ::operator delete(memory, kCacheLine); }
#else
// Fresh pages from the kernel: zeroed, aligned, and given back at once when the model goes.
void* take(size_t bytes) { return take_pages(bytes); }
void give_back(void* memory, size_t bytes) { return_pages(memory, bytes); }
#endif

}  // namespace

void Buffer::Return::operator()(float* p) const { give_back(p, bytes); }

Buffer::Buffer(int64_t count) : size_(count) {
  if (count < 0 || count > int64_t{1} << 40)
    throw Error(ErrorKind::kInvalidArgument,
                concat("a buffer of ", count, " floats: must be between 0 and 2^40"));
  if (count == 0) return;
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  data_ = std::unique_ptr<float, Return>(static_cast<float*>(take(bytes)), Return(bytes));
}

}  // namespace headrace
