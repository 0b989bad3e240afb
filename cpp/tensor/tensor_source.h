// Where a model's named tensors come from: safetensors files, or a GGUF.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

class TensorSource {
 public:
  virtual ~TensorSource() = default;

  // Null when there is no such tensor.
  virtual const std::vector<int64_t>* shape_of(std::string_view name) const = 0;
  // All of a tensor that is there, row-major, as f32. Throws kUnsupported for a type of number that no model
  // has its weights in.
  virtual void read(std::string_view name, float* out) const = 0;
  // Reads a row of a tensor that is there, found once and not for every row; usable as long as this source.
  // Throws as read() does; what it returns does not throw.
  using RowReader = std::function<void(int64_t row, float* out)>;
  virtual RowReader rows(std::string_view name) const = 0;
  // The file that holds the tensor; without such a tensor, the one to look into. For messages.
  virtual const std::string& path_of(std::string_view name) const = 0;

  // 4 or 8 where the tensor's rows are stored in groups of 32 numbers of so many bits, which read_groups()
  // gives as they are; 0 otherwise.
  virtual int group_bits(std::string_view) const { return 0; }
  // What GroupedWeights (kernels.h) says of all rows of the tensor: q as many as it has numbers, scale and,
  // in 4 bits, offset for each group.
  virtual void read_groups(std::string_view, uint8_t*, float*, float*) const {}
};

}  // namespace headrace
