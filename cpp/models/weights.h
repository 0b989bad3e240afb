// Named tensors of a checkpoint -> f32 buffers in the layout the kernels want.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "models/layers.h"
#include "models/smoothing.h"
#include "tensor/buffer.h"
#include "tensor/tensor_source.h"

namespace headrace {

// name.weight [n, K] and, where it is there, name.bias [n].
struct Projection {
  std::string name;
  int64_t n;
  bool has_swapped_halves = false;  // the file has the rows' second half first
};

class WeightReader {
 public:
  // prefix: what stands before every name in this checkpoint, e.g. "bert." or "".
  WeightReader(const TensorSource& source, std::string prefix, const Kernels& kernels)
      : source_(source), prefix_(std::move(prefix)), kernels_(kernels) {}

  // The tensor of that name and exactly that shape, as f32 (f16 and bf16 widen without loss). Throws
  // kCorruptFile when it is missing or has another shape, kUnsupported for other types.
  Buffer tensor(const std::string& name, std::initializer_list<int64_t> shape);

  // name.weight [n, k] and name.bias [n], packed.
  Linear linear(const std::string& name, int64_t n, int64_t k);
  // One layer with each tensor under a name of its own; without a name for the bias there is none.
  Linear linear_of(const std::string& weight, const std::string& bias, int64_t n, int64_t k);
  // The same of a tensor that has several layers' rows one after the other, so many of each.
  std::vector<Linear> linears_of(const std::string& weight, const std::string& bias,
                                 std::initializer_list<int64_t> rows, int64_t k);
  // Several with the same input, their outputs side by side: [sum n, k]; bias is empty when none has one.
  // input: how large x's columns are, by which int8 layers are smoothed; empty: not known.
  Linear projection(const std::vector<Projection>& parts, int64_t k, const ColumnSizes& input = {});
  // name.weight [n, channels, side, side], a convolution that steps from patch to patch, as a layer over the
  // patches' numbers; name.bias [n] where has_bias.
  Linear patches(const std::string& name, int64_t n, int64_t channels, int64_t side, bool has_bias);
  // For reading single rows of a tensor [rows, width] later; throws as tensor() does. Not counted among the
  // parameters: a layer may share the tensor.
  TensorSource::RowReader rows(const std::string& name, int64_t rows, int64_t width) const;
  bool has(const std::string& name) const { return source_.shape_of(prefix_ + name) != nullptr; }
  // name.weight and name.bias, [c] each; without a bias in the file it is 0.
  LayerNorm layer_norm(const std::string& name, int64_t c, float eps, bool has_bias = true);

  // Throws kCorruptFile when there is no such tensor.
  void require(const std::string& name) const;

  // Of the linear layers read from here on.
  void use(Precision precision) { precision_ = precision; }
  Precision precision() const { return precision_; }
  // From here on every projection is what the file has: kQ4 for groups of 4 bits, kQ8 for those of 8 and for
  // what is stored otherwise, such as the 6-bit output of a file whose layers have 4.
  void use_stored_groups() { uses_stored_groups_ = true; }
  int64_t parameters() const { return parameters_; }
  // Memory that the linear layers which were read take.
  int64_t packed_bytes() const { return packed_bytes_; }

 private:
  int64_t check(const std::string& name, std::initializer_list<int64_t> shape) const;
  void read(const std::string& name, std::initializer_list<int64_t> shape, float* out);
  Linear start_layer(Buffer bias, int64_t n, int64_t k);
  Linear pack(const float* plain, Buffer bias, int64_t n, int64_t k);
  std::optional<Linear> pack_stored(const std::vector<Projection>& parts, Buffer& bias, int64_t k);

  const TensorSource& source_;
  std::string prefix_;
  const Kernels& kernels_;
  Precision precision_ = Precision::kF32;
  bool uses_stored_groups_ = false;
  int64_t parameters_ = 0;
  int64_t packed_bytes_ = 0;
};

}  // namespace headrace
