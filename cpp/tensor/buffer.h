// A block of floats that starts on a cache line and lies on huge pages with others: weights and activations.
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
  struct Return {
    size_t bytes;
    Return() : bytes(0) {}
    explicit Return(size_t size_bytes) : bytes(size_bytes) {}
    void operator()(float* p) const;
  };
  std::unique_ptr<float, Return> data_;
  int64_t size_ = 0;
};

}  // namespace headrace
