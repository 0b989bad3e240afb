#include "tensor/buffer.h"

#include "base/error.h"
#include "base/pages.h"

namespace headrace {

void Buffer::Return::operator()(float* p) const { return_pages(p, bytes); }

Buffer::Buffer(int64_t count) : size_(count) {
  if (count < 0 || count > int64_t{1} << 40)
    throw Error(ErrorKind::kInvalidArgument,
                concat("a buffer of ", count, " floats: must be between 0 and 2^40"));
  if (count == 0) return;
  // Fresh pages from the kernel: zeroed, aligned, and given back at once when the model goes.
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  data_ = std::unique_ptr<float, Return>(static_cast<float*>(take_pages(bytes)), Return(bytes));
}

}  // namespace headrace
