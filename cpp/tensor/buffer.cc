#include "tensor/buffer.h"

#include <sys/mman.h>

#include <new>

#include "base/error.h"

namespace headrace {

void Buffer::Unmap::operator()(float* p) const { munmap(p, bytes); }

Buffer::Buffer(int64_t count) : size_(count) {
  if (count < 0 || count > int64_t{1} << 40)
    throw Error(ErrorKind::kInvalidArgument,
                concat("a buffer of ", count, " floats: must be between 0 and 2^40"));
  if (count == 0) return;
  // Fresh pages from the kernel: zeroed, aligned, and given back at once when the model goes.
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  constexpr size_t kHugePage = size_t{2} << 20;
  // Before the first touch, or the pages are small already. A refusal only costs speed.
  if (bytes >= kHugePage) (void)madvise(pages, bytes, MADV_HUGEPAGE);
  data_ = std::unique_ptr<float, Unmap>(static_cast<float*>(pages), Unmap(bytes));
}

}  // namespace headrace
