// Tensors of random numbers, and a safetensors file of them.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace headrace {

struct Tensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, Tensor>;

inline Tensor random_tensor(std::vector<int64_t> shape) {
  static std::mt19937 chance(20261125);
  std::normal_distribution<float> normal(0.0f, 0.3f);
  Tensor tensor{std::move(shape), {}};
  int64_t count = 1;
  for (const int64_t size : tensor.shape) count *= size;
  for (int64_t i = 0; i < count; ++i) tensor.values.push_back(normal(chance));
  return tensor;
}

inline void add_linear(Tensors& tensors, const std::string& name, int64_t n, int64_t k) {
  tensors[name + ".weight"] = random_tensor({n, k});
  tensors[name + ".bias"] = random_tensor({n});
}

inline void write_tensors(const Tensors& tensors, const std::string& path) {
  std::string header = "{", data;
  for (const auto& [name, tensor] : tensors) {
    const size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(tensor.values.data()), tensor.values.size() * sizeof(float));
    std::string shape;
    for (const int64_t size : tensor.shape) shape += concat(shape.empty() ? "" : ",", size);
    header += concat(header.size() > 1 ? "," : "", "\"", name, R"(":{"dtype":"F32","shape":[)", shape,
                     R"(],"data_offsets":[)", begin, ",", data.size(), "]}");
  }
  header += "}";
  std::ofstream file(path, std::ios::binary);
  const uint64_t size = header.size();
  file.write(reinterpret_cast<const char*>(&size), sizeof size);
  file << header << data;
}

}  // namespace headrace
