// What a post-processor puts around the tokens of a text: TemplateProcessing and BertProcessing.
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"
#include "text/vocabulary.h"

namespace headrace {

struct TokenTemplate {
  struct Special {
    int32_t id;
    int32_t type_id;
  };

  std::vector<Special> before;
  std::vector<Special> behind;
  int32_t type_id = 0;  // of the text's own tokens

  int64_t num_specials() const { return static_cast<int64_t>(before.size() + behind.size()); }
};

// Reads the member post_processor of tokenizer.json; null means that nothing is added. Only the template for
// a single text is read. Throws Error(kUnsupported) for other processors and for a template that does not
// hold the text exactly once, Error(kCorruptFile) for one whose tokens the vocabulary does not have.
TokenTemplate read_template(JsonValue post_processor, const Vocabulary& vocabulary);

}  // namespace headrace
