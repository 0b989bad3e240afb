#include "models/weights.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "base/error.h"
#include "models/quantize.h"

namespace headrace {
namespace {

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += concat(text.size() > 1 ? ", " : "", size);
  return text + "]";
}

}  // namespace

void WeightReader::require(const std::string& name) const {
  const std::string full = prefix_ + name;
  if (!source_.shape_of(full))
    throw Error(ErrorKind::kCorruptFile, concat(source_.path_of(full), ": the tensor '", full,
                                                "' is missing, though config.json asks for it"));
}

// Returns how many numbers it has.
int64_t WeightReader::check(const std::string& name, std::initializer_list<int64_t> shape) const {
  require(name);
  const std::string full = prefix_ + name;
  const std::vector<int64_t>* const found = source_.shape_of(full);
  if (!std::equal(found->begin(), found->end(), shape.begin(), shape.end()))
    throw Error(ErrorKind::kCorruptFile,
                concat(source_.path_of(full), ": the tensor '", full, "' has shape ", shape_text(*found),
                       "; config.json makes it ", shape_text({shape.begin(), shape.size()})));
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

TensorSource::RowReader WeightReader::rows(const std::string& name, int64_t rows, int64_t width) const {
  check(name, {rows, width});
  return source_.rows(prefix_ + name);
}

void WeightReader::read(const std::string& name, std::initializer_list<int64_t> shape, float* out) {
  parameters_ += check(name, shape);
  source_.read(prefix_ + name, out);
}

// The shape is checked before memory is asked for, and the reader has checked shapes against the file's size:
// a lying config.json or header cannot make us allocate more than the file is long (some times that for
// weights of few bits).
Buffer WeightReader::tensor(const std::string& name, std::initializer_list<int64_t> shape) {
  Buffer buffer(check(name, shape));
  read(name, shape, buffer.data());
  return buffer;
}

Linear WeightReader::start_layer(Buffer bias, int64_t n, int64_t k) {
  if (weight_group_bits(precision_) != 0 && k % kWeightGroup != 0)
    throw Error(ErrorKind::kUnsupported,
                concat("a layer with ", k, " inputs has no precision ", precision_name(precision_),
                       ", which wants a multiple of ", kWeightGroup, ": use int8, bf16 or f32"));
  Linear layer;
  layer.n = n;
  layer.k = k;
  layer.bias = std::move(bias);
  layer.precision = precision_;
  const int64_t panel = kernels_.panel_columns;
  constexpr auto kFloat = static_cast<int64_t>(sizeof(float));
  const NarrowKernels* const narrow = narrow_kernels(kernels_, precision_);
  layer.packed = Buffer(narrow ? (narrow->packed_bytes(n, k) + kFloat - 1) / kFloat
                               : (n + panel - 1) / panel * panel * k);
  packed_bytes_ += (layer.packed.size() + layer.bias.size()) * kFloat;
  return layer;
}

Linear WeightReader::pack(const float* plain, Buffer bias, int64_t n, int64_t k) {
  Linear layer = start_layer(std::move(bias), n, k);
  const NarrowKernels* const narrow = narrow_kernels(kernels_, precision_);
  if (!narrow)
    kernels_.pack_weights(plain, n, k, layer.packed.data());
  else if (narrow->pack)
    narrow->pack(plain, n, k, layer.packed.data());
  else
    narrow->pack_groups(quantize(plain, n, k, weight_group_bits(precision_)).view(), n, k,
                        layer.packed.data());
  return layer;
}

// Weights that are stored in the very groups that are wanted, as they are.
std::optional<Linear> WeightReader::pack_stored(const std::vector<Projection>& parts, Buffer& bias,
                                                int64_t k) {
  const int bits = weight_group_bits(precision_);
  int64_t total = 0;
  for (const Projection& part : parts) {
    if (bits == 0 || source_.group_bits(prefix_ + part.name + ".weight") != bits) return std::nullopt;
    total += part.n;
  }
  QuantizedWeights stored;
  stored.q.resize(static_cast<size_t>(total * k));
  stored.scale.resize(static_cast<size_t>(total * k / kWeightGroup));
  if (bits == 4) stored.offset.resize(stored.scale.size());
  int64_t row = 0;
  for (const Projection& part : parts) {
    const auto group = static_cast<size_t>(row * k / kWeightGroup);
    parameters_ += part.n * k;
    source_.read_groups(prefix_ + part.name + ".weight", stored.q.data() + row * k,
                        stored.scale.data() + group, bits == 4 ? stored.offset.data() + group : nullptr);
    row += part.n;
  }
  Linear layer = start_layer(std::move(bias), total, k);
  narrow_kernels(kernels_, precision_)->pack_groups(stored.view(), total, k, layer.packed.data());
  return layer;
}

Linear WeightReader::linear(const std::string& name, int64_t n, int64_t k) {
  check(name + ".weight", {n, k});
  check(name + ".bias", {n});
  return projection({{name, n}}, k);
}

Linear WeightReader::projection(const std::vector<Projection>& parts, int64_t k, const ColumnSizes& input) {
  int64_t total = 0;
  bool has_bias = false, has_4_bits = true;
  for (const Projection& part : parts) {
    check(part.name + ".weight", {part.n, k});
    total += part.n;
    has_bias = has_bias || has(part.name + ".bias");
    has_4_bits = has_4_bits && source_.group_bits(prefix_ + part.name + ".weight") == 4;
  }
  if (uses_stored_groups_) precision_ = has_4_bits ? Precision::kQ4 : Precision::kQ8;
  Buffer bias(has_bias ? total : 0);
  int64_t row = 0;
  for (const Projection& part : parts) {
    float* const begin = bias.data() + row;
    if (has(part.name + ".bias")) read(part.name + ".bias", {part.n}, begin);
    if (has_bias && part.has_swapped_halves) std::rotate(begin, begin + part.n / 2, begin + part.n);
    row += part.n;
  }
  if (auto stored = pack_stored(parts, bias, k)) return std::move(*stored);
  Buffer plain(total * k);
  row = 0;
  for (const Projection& part : parts) {
    float* const begin = plain.data() + row * k;
    read(part.name + ".weight", {part.n, k}, begin);
    if (part.has_swapped_halves) std::rotate(begin, begin + part.n / 2 * k, begin + part.n * k);
    row += part.n;
  }
  Buffer factor;
  if (precision_ == Precision::kInt8 && !input.empty()) factor = smooth(input, total, k, plain.data());
  Linear layer = pack(plain.data(), std::move(bias), total, k);
  layer.factor = std::move(factor);
  return layer;
}

Linear WeightReader::linear_of(const std::string& weight, const std::string& bias, int64_t n, int64_t k) {
  return std::move(linears_of(weight, bias, {n}, k).front());
}

std::vector<Linear> WeightReader::linears_of(const std::string& weight, const std::string& bias,
                                             std::initializer_list<int64_t> rows, int64_t k) {
  const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  const Buffer plain = tensor(weight, {total, k});
  const Buffer biases = bias.empty() ? Buffer(total) : tensor(bias, {total});
  std::vector<Linear> layers;
  int64_t row = 0;
  for (const int64_t n : rows) {
    Buffer own(n);
    std::copy(biases.data() + row, biases.data() + row + n, own.data());
    layers.push_back(pack(plain.data() + row * k, std::move(own), n, k));
    row += n;
  }
  return layers;
}

Linear WeightReader::patches(const std::string& name, int64_t n, int64_t channels, int64_t side,
                             bool has_bias) {
  const Buffer plain = tensor(name + ".weight", {n, channels, side, side});
  return pack(plain.data(), has_bias ? tensor(name + ".bias", {n}) : Buffer(n), n, channels * side * side);
}

LayerNorm WeightReader::layer_norm(const std::string& name, int64_t c, float eps, bool has_bias) {
  return {.gain = tensor(name + ".weight", {c}),
          .bias = has_bias ? tensor(name + ".bias", {c}) : Buffer(c),
          .eps = eps};
}

}  // namespace headrace
