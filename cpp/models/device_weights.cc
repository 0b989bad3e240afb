#include "models/device_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "kernels/dispatch.h"

namespace headrace {
namespace {

void pack_f32(const float* w, int64_t n, int64_t k, float* packed) { std::copy(w, w + n * k, packed); }

int64_t bf16_bytes(int64_t n, int64_t k) { return 2 * n * k; }

// To the nearest, ties to even; NaN stays one.
void pack_bf16(const float* w, int64_t n, int64_t k, void* packed) {
  auto* const to = static_cast<uint16_t*>(packed);
  for (int64_t i = 0; i < n * k; ++i) {
    const auto bits = std::bit_cast<uint32_t>(w[i]);
    to[i] = std::isnan(w[i]) ? static_cast<uint16_t>(bits >> 16 | 0x40)
                             : static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
  }
}

// The numbers, then what undoes each row's scale. Scales begin at a multiple of 4 bytes.
int64_t up_to_four(int64_t bytes) { return (bytes + 3) / 4 * 4; }
int64_t int8_bytes(int64_t n, int64_t k) { return up_to_four(n * k) + 4 * n; }

void pack_int8(const float* w, int64_t n, int64_t k, void* packed) {
  auto* const q = static_cast<int8_t*>(packed);
  auto* const scale = reinterpret_cast<float*>(q + up_to_four(n * k));
  for (int64_t row = 0; row < n; ++row, w += k) {
    float most = 0;
    for (int64_t i = 0; i < k; ++i) most = std::max(most, std::fabs(w[i]));
    const float inverse = most > 0 ? 127.0f / most : 0.0f;
    for (int64_t i = 0; i < k; ++i) {
      const float rounded = std::nearbyint(w[i] * inverse);
      q[row * k + i] = static_cast<int8_t>(std::fabs(rounded) <= 127.0f ? rounded : 0.0f);
    }
    scale[row] = most / 127.0f;
  }
}

// The numbers, the scales, and in 4 bits the offsets. K is a multiple of 32.
template <int kBits>
int64_t group_bytes(int64_t n, int64_t k) {
  return n * k * kBits / 8 + n * (k / kWeightGroup) * (kBits == 4 ? 8 : 4);
}

template <int kBits>
void pack_groups(const GroupedWeights& w, int64_t n, int64_t k, void* packed) {
  auto* q = static_cast<uint8_t*>(packed);
  for (int64_t i = 0; i < n * k; i += 8 / kBits)
    *q++ = kBits == 8 ? w.q[i] : static_cast<uint8_t>(w.q[i] | w.q[i + 1] << 4);
  const int64_t groups = n * (k / kWeightGroup);
  auto* const scale = reinterpret_cast<float*>(q);
  std::copy(w.scale, w.scale + groups, scale);
  if (kBits == 4) std::copy(w.offset, w.offset + groups, scale + groups);
}

cuda::WeightType type_of(Precision precision) {
  switch (precision) {
    case Precision::kBf16:
      return cuda::WeightType::kBf16;
    case Precision::kInt8:
      return cuda::WeightType::kInt8;
    case Precision::kQ8:
      return cuda::WeightType::kQ8;
    case Precision::kQ4:
      return cuda::WeightType::kQ4;
    case Precision::kF32:
      break;
  }
  return cuda::WeightType::kF32;
}

}  // namespace

const Kernels& device_layout() {
  static const Kernels layout = [] {
    Kernels table = kernels_by_name("reference");
    table.name = "cuda";
    table.panel_columns = 1;
    table.pack_weights = pack_f32;
    table.has_bf16 = true;
    table.bf16.packed_bytes = bf16_bytes;
    table.bf16.pack = pack_bf16;
    table.int8.packed_bytes = int8_bytes;
    table.int8.pack = pack_int8;
    table.q8.packed_bytes = group_bytes<8>;
    table.q8.pack_groups = pack_groups<8>;
    table.q4.packed_bytes = group_bytes<4>;
    table.q4.pack_groups = pack_groups<4>;
    return table;
  }();
  return layout;
}

void wait_for(cuda::DeviceTable& device) {
  if (const char* const error = device.wait())
    throw Error(ErrorKind::kInternal, concat("the device failed: ", error));
}

template <typename T, bool kHost>
DeviceArray<T, kHost>::DeviceArray(cuda::DeviceTable& device, int64_t count)
    : device_(&device), count_(count) {
  const int64_t bytes = std::max<int64_t>(1, count) * static_cast<int64_t>(sizeof(T));
  data_ = static_cast<T*>(kHost ? device.allocate_host(bytes) : device.allocate(bytes));
  if (!data_)
    throw Error(ErrorKind::kUnsupported,
                concat("the device has no ", bytes, " bytes of ", kHost ? "pinned host " : "",
                       "memory left: serve fewer models, or ask for less cache or smaller batches"));
}
template class DeviceArray<float>;
template class DeviceArray<float, true>;
template class DeviceArray<int32_t>;
template class DeviceArray<int32_t, true>;
template class DeviceArray<char>;
template class DeviceArray<cuda::Bf16>;
template class DeviceArray<cuda::SamplingRow>;

DeviceArray<float> to_device(cuda::DeviceTable& device, const Buffer& buffer) {
  if (buffer.size() == 0) return {};
  DeviceArray<float> array(device, buffer.size());
  device.upload(array.data(), buffer.data(), buffer.size() * static_cast<int64_t>(sizeof(float)));
  wait_for(device);
  return array;
}

DeviceLinear::DeviceLinear(cuda::DeviceTable& device, const Linear& linear)
    : type_(type_of(linear.precision)),
      n_(linear.n),
      k_(linear.k),
      bias_(to_device(device, linear.bias)),
      factor_(to_device(device, linear.factor)) {
  const int64_t multiple = type_ == cuda::WeightType::kBf16 ? 8 : type_ == cuda::WeightType::kInt8 ? 16 : 1;
  if (k_ % multiple != 0)
    throw Error(ErrorKind::kUnsupported,
                concat("a layer with ", k_, " inputs has no precision ", precision_name(linear.precision),
                       " on a device, which wants a multiple of ", multiple, ": use f32"));
  const int64_t bytes = linear.packed.size() * static_cast<int64_t>(sizeof(float));
  packed_ = DeviceArray<char>(device, bytes);
  device.upload(packed_.data(), linear.packed.data(), bytes);
  wait_for(device);
  if (type_ == cuda::WeightType::kInt8)
    scale_ = reinterpret_cast<const float*>(packed_.data() + up_to_four(n_ * k_));
  if (const int bits = weight_group_bits(linear.precision)) {
    scale_ = reinterpret_cast<const float*>(packed_.data() + n_ * k_ * bits / 8);
    if (bits == 4) offset_ = scale_ + n_ * (k_ / kWeightGroup);
  }
}

int64_t DeviceLinear::row_bytes() const {
  return type_ == cuda::WeightType::kBf16 ? 2 * k_ : type_ == cuda::WeightType::kInt8 ? k_ : 0;
}

void DeviceLinear::forward(cuda::DeviceTable& device, int64_t rows, const float* x, DeviceEncoded& encoded,
                           const Out& out) const {
  char* const to = encoded.rows.data();
  if (type_ == cuda::WeightType::kBf16) {
    device.encode_bf16(x, rows * k_, reinterpret_cast<cuda::Bf16*>(to));
    multiply(device, rows, to, nullptr, out);
  } else if (type_ == cuda::WeightType::kInt8) {
    device.encode_int8(x, factor_.data(), rows, k_, reinterpret_cast<int8_t*>(to), encoded.scales.data());
    multiply(device, rows, to, encoded.scales.data(), out);
  } else {
    multiply(device, rows, x, nullptr, out);
  }
}

void DeviceLinear::forward_bf16(cuda::DeviceTable& device, int64_t rows, const cuda::Bf16* x,
                                const Out& out) const {
  multiply(device, rows, x, nullptr, out);
}

void DeviceLinear::multiply(cuda::DeviceTable& device, int64_t rows, const void* x, const float* x_scale,
                            const Out& out) const {
  device.gemm({.type = type_,
               .x = x,
               .x_scale = x_scale,
               .w = packed_.data(),
               .w_scale = scale_,
               .w_offset = offset_,
               .m = rows,
               .n = n_,
               .k = k_,
               .bias = bias_.data(),
               .residual = out.residual,
               .y = out.f32,
               .bf16_y = out.bf16,
               .activation = out.activation});
}

}  // namespace headrace
