// The weights of a model directory, in one safetensors file or in several:
//
//   model.safetensors                     everything; taken when it is there
//   model.safetensors.index.json          {"weight_map": {"name": "model-00001-of-00002.safetensors", ...}}
//
// Several files are held to what one file is held to: index and files must name the same tensors, each once
// and in the same place. Files are named without folders, so that an index reaches nothing outside its own
// directory. `metadata` of the index is not read: published ones have totals that count shared weights twice.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tensor/safetensors.h"
#include "tensor/tensor_source.h"

namespace headrace {

class Checkpoint final : public TensorSource {
 public:
  static constexpr size_t kMaxIndexBytes = 100'000'000;
  static constexpr size_t kMaxFiles = 4096;

  // Throws kNotFound (no weights, or a file that the index names is missing) or kCorruptFile.
  static Checkpoint open(const ModelPath& directory);

  // The tensor of that name, or null.
  const TensorView* find(std::string_view name) const;
  // The path of the file that holds that tensor; without such a tensor, of the file to look into.
  const std::string& path_of(std::string_view name) const override;
  const std::vector<int64_t>* shape_of(std::string_view name) const override;
  void read(std::string_view name, float* out) const override;
  RowReader rows(std::string_view name) const override;
  size_t files() const { return files_.size(); }

 private:
  explicit Checkpoint(std::string path) : path_(std::move(path)) {}
  const TensorView& floating(std::string_view name) const;
  void open_files(std::string_view index, const ModelPath& directory);

  std::string path_;  // model.safetensors or the index
  std::vector<SafetensorsFile> files_;
};

}  // namespace headrace
