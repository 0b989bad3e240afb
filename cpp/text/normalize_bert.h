// BertNormalizer as a stage, for tokenizers that are not BERT's own.
#pragma once

#include "text/normalize.h"
#include "text/stages.h"

namespace headrace {

class BertStage : public Normalizer {
 public:
  explicit BertStage(BertNormalizer::Config config) : normalizer_(config) {}
  void apply(AlignedText& text) const override;

 private:
  BertNormalizer normalizer_;
};

}  // namespace headrace
