// Memory of a device and weights in it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "kernels/cuda/device_table.h"
#include "kernels/kernels.h"
#include "models/layers.h"
#include "tensor/buffer.h"

namespace headrace {

// Packs weights as the device's kernels read them: with it, WeightReader gives layers that DeviceLinear
// takes. Its other functions are the reference's.
const Kernels& device_layout();

// Waits; throws Error(kInternal) that says what went wrong on the device.
void wait_for(cuda::DeviceTable& device);

// `count` numbers in a device's memory, or in the host's for copies to and from it. The device must outlive
// them. Throws Error(kUnsupported) where there is not enough memory.
template <typename T, bool kHost = false>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(cuda::DeviceTable& device, int64_t count);
  DeviceArray(DeviceArray&& other) noexcept { swap(other); }
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceArray() {
    if (data_ && kHost) device_->release_host(data_);
    if (data_ && !kHost) device_->release(data_);
  }

  T* data() const { return data_; }
  int64_t size() const { return count_; }

 private:
  void swap(DeviceArray& other) {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
  }

  cuda::DeviceTable* device_ = nullptr;
  T* data_ = nullptr;
  int64_t count_ = 0;
};
template <typename T>
using HostArray = DeviceArray<T, true>;

// A copy of the buffer; waits.
DeviceArray<float> to_device(cuda::DeviceTable& device, const Buffer& buffer);

// Where DeviceLinear encodes what it is given.
struct DeviceEncoded {
  DeviceArray<char> rows;
  DeviceArray<float> scales;  // [rows], int8
};

// Linear (layers.h) with its weights on a device.
class DeviceLinear {
 public:
  DeviceLinear() = default;
  // linear: packed by device_layout(). Throws kUnsupported where the kernels cannot take its shape.
  DeviceLinear(cuda::DeviceTable& device, const Linear& linear);

  struct Out {
    float* f32 = nullptr;
    cuda::Bf16* bf16 = nullptr;
    Activation activation = Activation::kNone;
    const float* residual = nullptr;
  };
  // x [rows, K].
  void forward(cuda::DeviceTable& device, int64_t rows, const float* x, DeviceEncoded& encoded,
               const Out& out) const;
  // The same of rows in bf16, in that precision alone.
  void forward_bf16(cuda::DeviceTable& device, int64_t rows, const cuda::Bf16* x, const Out& out) const;

  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  // Of one row, encoded.
  int64_t row_bytes() const;

 private:
  void multiply(cuda::DeviceTable& device, int64_t rows, const void* x, const float* x_scale,
                const Out& out) const;

  cuda::WeightType type_ = cuda::WeightType::kF32;
  int64_t n_ = 0, k_ = 0;
  DeviceArray<char> packed_;
  const float* scale_ = nullptr;   // in packed_
  const float* offset_ = nullptr;  // in packed_
  DeviceArray<float> bias_, factor_;
};

}  // namespace headrace
