#include "models/weights.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace headrace {
namespace {

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += concat(text.size() > 1 ? ", " : "", size);
  return text + "]";
}

// IEEE 754 binary16 -> binary32; exact.
float widen_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  uint32_t exponent = half >> 10 & 0x1F, fraction = half & 0x3FF;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000u | fraction << 13);
  if (exponent == 0) {
    // Subnormal: fraction * 2^-24, exact in f32.
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

template <typename Widen>
void widen(std::span<const std::byte> bytes, float* out, const Widen& widen_one) {
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    uint16_t half;
    std::memcpy(&half, bytes.data() + i, 2);
    *out++ = widen_one(half);
  }
}

}  // namespace

const TensorView& WeightReader::find(const std::string& name, std::initializer_list<int64_t> shape) {
  const std::string full = prefix_ + name;
  const TensorView* view = checkpoint_.find(full);
  if (!view)
    throw Error(ErrorKind::kCorruptFile, concat(checkpoint_.path_of(full), ": the tensor '", full,
                                                "' is missing, though config.json asks for it"));
  if (!std::equal(view->shape.begin(), view->shape.end(), shape.begin(), shape.end()))
    throw Error(
        ErrorKind::kCorruptFile,
        concat(checkpoint_.path_of(full), ": the tensor '", full, "' has shape ", shape_text(view->shape),
               "; config.json makes it ", shape_text({shape.begin(), shape.size()})));
  return *view;
}

void WeightReader::read(const TensorView& view, float* out) {
  int64_t count = 1;
  for (const int64_t size : view.shape) count *= size;
  parameters_ += count;
  switch (view.dtype) {
    case DType::kF32:
      std::memcpy(out, view.bytes.data(), view.bytes.size());
      return;
    case DType::kF16:
      return widen(view.bytes, out, widen_half);
    case DType::kBF16:
      return widen(view.bytes, out, [](uint16_t half) { return std::bit_cast<float>(uint32_t{half} << 16); });
    default:
      throw Error(ErrorKind::kUnsupported,
                  concat(checkpoint_.path_of(view.name), ": the tensor '", view.name, "' has type ",
                         dtype_name(view.dtype), ": supported are F32, F16 and BF16"));
  }
}

// The shape is checked before memory is asked for, and the reader has checked shapes against the file's size:
// a lying config.json or header cannot make us allocate more than the file is long (twice that for
// half-precision weights).
Buffer WeightReader::tensor(const std::string& name, std::initializer_list<int64_t> shape) {
  const TensorView& view = find(name, shape);
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  Buffer buffer(count);
  read(view, buffer.data());
  return buffer;
}

Linear WeightReader::pack(const Buffer& plain, Buffer bias, int64_t n, int64_t k) const {
  const int64_t panel = kernels_.panel_columns;
  Linear layer;
  layer.n = n;
  layer.k = k;
  layer.bias = std::move(bias);
  layer.precision = precision_;
  if (const NarrowKernels* narrow = narrow_kernels(kernels_, precision_)) {
    constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
    layer.packed = Buffer((narrow->packed_bytes(n, k) + kFloat - 1) / kFloat);
    narrow->pack(plain.data(), n, k, layer.packed.data());
  } else {
    layer.packed = Buffer((n + panel - 1) / panel * panel * k);
    kernels_.pack_weights(plain.data(), n, k, layer.packed.data());
  }
  return layer;
}

Linear WeightReader::linear(std::initializer_list<std::string> names, int64_t n, int64_t k,
                            const ColumnSizes& input) {
  for (const std::string& name : names) find(name + ".weight", {n, k});
  const int64_t total = n * static_cast<int64_t>(names.size());
  Buffer bias(total);
  Buffer plain(total * k);
  int64_t row = 0;
  for (const std::string& name : names) {
    read(find(name + ".weight", {n, k}), plain.data() + row * k);
    read(find(name + ".bias", {n}), bias.data() + row);
    row += n;
  }
  Buffer factor;
  if (precision_ == Precision::kInt8 && !input.empty()) factor = smooth(input, total, k, plain.data());
  Linear layer = pack(plain, std::move(bias), total, k);
  layer.factor = std::move(factor);
  return layer;
}

Linear WeightReader::linear_of(const std::string& weight, const std::string& bias, int64_t n, int64_t k) {
  const Buffer plain = tensor(weight, {n, k});
  return pack(plain, tensor(bias, {n}), n, k);
}

LayerNorm WeightReader::layer_norm(const std::string& name, int64_t c, float eps) {
  return {.gain = tensor(name + ".weight", {c}), .bias = tensor(name + ".bias", {c}), .eps = eps};
}

}  // namespace headrace
