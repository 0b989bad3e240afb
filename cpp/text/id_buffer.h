// Token ids as a text is encoded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace headrace {

// Ids that grow without a check per id: reserve() once per word, then write behind end().
class IdBuffer {
 public:
  void clear() { size_ = 0; }
  size_t size() const { return size_; }
  size_t capacity() const { return ids_.size(); }
  const int32_t* data() const { return ids_.data(); }
  // Where the next ids go, as far as there is room.
  int32_t* end() { return ids_.data() + size_; }
  int32_t operator[](size_t index) const { return ids_[index]; }

  // Room for `count` more ids; where they go.
  int32_t* reserve(size_t count) {
    if (ids_.size() - size_ < count) ids_.resize(ids_.size() + ids_.size() / 2 + count + 64);
    return ids_.data() + size_;
  }
  void added(size_t count) { size_ += count; }

 private:
  std::vector<int32_t> ids_;
  size_t size_ = 0;
};

}  // namespace headrace
