// The tensors of a GPT-2 checkpoint under the names, and in the order, that the other families have them:
// its linear layers are kept as [inputs, outputs], and its query, key and value as one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/language_config.h"
#include "tensor/tensor_source.h"

namespace headrace {

class Gpt2Weights final : public TensorSource {
 public:
  Gpt2Weights(std::unique_ptr<TensorSource> source, const LanguageConfig& config);

  const std::vector<int64_t>* shape_of(std::string_view name) const override;
  void read(std::string_view name, float* out) const override;
  RowReader rows(std::string_view name) const override;  // of embeddings only, which are as elsewhere
  const std::string& path_of(std::string_view name) const override;

 private:
  struct Stored {
    std::string name;  // in the checkpoint
    bool is_turned = false;
    std::vector<int64_t> shape;  // as seen from outside; empty where there is no such tensor
  };
  void add(const std::string& name, const std::string& stored, bool is_turned = false);
  const Stored* find(std::string_view name) const;

  std::unique_ptr<TensorSource> source_;
  std::string prefix_;
  std::unordered_map<std::string, Stored> tensors_;
};

}  // namespace headrace
