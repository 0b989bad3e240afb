// Floats that end right before an unreadable page: a kernel that reads or writes one element too far faults
// at once.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <random>
#include <stdexcept>

namespace headrace {

class Guarded {
 public:
  // The data starts at whatever address puts its last element, plus `gap` floats, against the guard page; so
  // sizes and gaps that differ also try every misalignment. The gap holds a pattern that check() compares.
  explicit Guarded(int64_t count, int64_t gap = 0) : count_(count), gap_(gap) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t used = (static_cast<size_t>(count + gap) * sizeof(float) + page - 1) / page * page;
    bytes_ = used + page;
    base_ =
        static_cast<char*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + used, page, PROT_NONE) != 0) throw std::runtime_error("mmap");
    data_ = reinterpret_cast<float*>(base_ + used) - count - gap;
    for (int64_t i = count; i < count + gap; ++i) data_[i] = kPattern;
  }
  ~Guarded() { munmap(base_, bytes_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  void randomize(uint32_t seed, float low = -1.0f, float high = 1.0f) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(low, high);
    for (int64_t i = 0; i < count_; ++i) data_[i] = uniform(random);
  }
  float* data() { return data_; }
  float& operator[](int64_t i) { return data_[i]; }
  int64_t size() const { return count_; }
  bool gap_untouched() const {
    for (int64_t i = count_; i < count_ + gap_; ++i)
      if (data_[i] != kPattern) return false;
    return true;
  }

 private:
  static constexpr float kPattern = 12345.5f;
  int64_t count_, gap_;
  size_t bytes_ = 0;
  char* base_ = nullptr;
  float* data_ = nullptr;
};

}  // namespace headrace
