// What tokenizer.json is read into, and a Tokenizer made from.
#pragma once

#include <memory>
#include <vector>

#include "text/tokenizer.h"

namespace headrace {

struct Tokenizer::Parts {
  std::unique_ptr<const Vocabulary> vocabulary;
  std::vector<bool> is_special;
  std::unique_ptr<const Pipeline> pipeline;
  std::unique_ptr<const PostProcessor> post_processor;
  std::unique_ptr<const Decoder> decoder;
};

}  // namespace headrace
