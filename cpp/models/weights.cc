#include "models/weights.h"

#include <algorithm>

#include "base/error.h"
#include "models/quantize.h"
#include "models/widen.h"

namespace headrace {
namespace {

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += concat(text.size() > 1 ? ", " : "", size);
  return text + "]";
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

void WeightReader::refuse(const TensorView& view) const {
  throw Error(ErrorKind::kUnsupported,
              concat(checkpoint_.path_of(view.name), ": the tensor '", view.name, "' has type ",
                     dtype_name(view.dtype), ": supported are F32, F16 and BF16"));
}

void WeightReader::read(const TensorView& view, float* out) {
  int64_t count = 1;
  for (const int64_t size : view.shape) count *= size;
  parameters_ += count;
  if (!is_floating(view.dtype)) refuse(view);
  widen(view.dtype, view.bytes, out);
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

Linear WeightReader::pack(const Buffer& plain, Buffer bias, int64_t n, int64_t k) {
  const int64_t panel = kernels_.panel_columns;
  const bool is_grouped = precision_ == Precision::kQ8 || precision_ == Precision::kQ4;
  if (is_grouped && k % kWeightGroup != 0)
    throw Error(ErrorKind::kUnsupported,
                concat("a layer with ", k, " inputs has no precision ", precision_name(precision_),
                       ", which wants a multiple of ", kWeightGroup, ": use int8, bf16 or f32"));
  Linear layer;
  layer.n = n;
  layer.k = k;
  layer.bias = std::move(bias);
  layer.precision = precision_;
  if (const NarrowKernels* narrow = narrow_kernels(kernels_, precision_)) {
    constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
    layer.packed = Buffer((narrow->packed_bytes(n, k) + kFloat - 1) / kFloat);
    if (narrow->pack)
      narrow->pack(plain.data(), n, k, layer.packed.data());
    else
      narrow->pack_groups(quantize(plain.data(), n, k, precision_ == Precision::kQ4 ? 4 : 8).view(), n, k,
                          layer.packed.data());
  } else {
    layer.packed = Buffer((n + panel - 1) / panel * panel * k);
    kernels_.pack_weights(plain.data(), n, k, layer.packed.data());
  }
  packed_bytes_ += (layer.packed.size() + layer.bias.size()) * static_cast<int64_t>(sizeof(float));
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

Linear WeightReader::projection(std::initializer_list<Projection> parts, int64_t k) {
  int64_t total = 0;
  bool has_bias = false;
  for (const Projection& part : parts) {
    find(part.name + ".weight", {part.n, k});
    total += part.n;
    has_bias = has_bias || has(part.name + ".bias");
  }
  Buffer plain(total * k), bias(has_bias ? total : 0);
  int64_t row = 0;
  for (const Projection& part : parts) {
    read(find(part.name + ".weight", {part.n, k}), plain.data() + row * k);
    if (has(part.name + ".bias")) read(find(part.name + ".bias", {part.n}), bias.data() + row);
    row += part.n;
  }
  return pack(plain, std::move(bias), total, k);
}

EmbeddingRows WeightReader::rows(const std::string& name, int64_t rows, int64_t width) {
  const TensorView& view = find(name, {rows, width});
  if (!is_floating(view.dtype)) refuse(view);
  parameters_ += rows * width;
  return EmbeddingRows(view, width);
}

Linear WeightReader::linear_of(const std::string& weight, const std::string& bias, int64_t n, int64_t k) {
  const Buffer plain = tensor(weight, {n, k});
  return pack(plain, bias.empty() ? Buffer(n) : tensor(bias, {n}), n, k);
}

LayerNorm WeightReader::layer_norm(const std::string& name, int64_t c, float eps) {
  return {.gain = tensor(name + ".weight", {c}), .bias = tensor(name + ".bias", {c}), .eps = eps};
}

}  // namespace headrace
