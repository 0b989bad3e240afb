// A GGUF's tensors under the names, and in the order of rows, that Hugging Face checkpoints have them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/language_config.h"
#include "tensor/gguf.h"
#include "tensor/tensor_source.h"

namespace headrace {

class GgufWeights final : public TensorSource {
 public:
  // Throws what GgufFile::open throws.
  static GgufWeights open(const ModelPath& file) { return GgufWeights(GgufFile::open(file)); }

  // What config.json says elsewhere. Throws kUnsupported for an architecture that is not known, kCorruptFile
  // for missing or absurd keys.
  LanguageConfig config() const;

  const std::vector<int64_t>* shape_of(std::string_view name) const override;
  void read(std::string_view name, float* out) const override;
  RowReader rows(std::string_view name) const override;
  const std::string& path_of(std::string_view) const override { return file_.name(); }
  int group_bits(std::string_view name) const override;
  void read_groups(std::string_view name, uint8_t* q, float* scale, float* offset) const override;

 private:
  explicit GgufWeights(GgufFile file);
  const GgufTensor* find(std::string_view name) const;
  // How many heads the rows of a tensor of that name are to be put in another order for; 0: they stay.
  int64_t turned_heads(std::string_view name) const;

  GgufFile file_;
  std::string architecture_;
  int64_t heads_ = 0, kv_heads_ = 0;
};

}  // namespace headrace
