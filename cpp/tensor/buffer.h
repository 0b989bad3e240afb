// A block of floats that starts on a cache line and, when large, lies on huge pages: weights and activations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace headrace {

class Buffer {
 public:
  Buffer() = default;
  // Zero-filled. Throws Error(kInvalidArgument) for a negative or absurd count (over 2^40), std::bad_alloc
  // when memory is out.
  explicit Buffer(int64_t count);

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  int64_t size() const { return size_; }

 private:
  struct Unmap {
    size_t bytes;
    Unmap() : bytes(0) {}
    explicit Unmap(size_t size_bytes) : bytes(size_bytes) {}
    void operator()(float* p) const;
  };
  std::unique_ptr<float, Unmap> data_;
  int64_t size_ = 0;
};

}  // namespace headrace
