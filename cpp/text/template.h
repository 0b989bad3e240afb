// What a post-processor puts around the tokens of a text: TemplateProcessing and BertProcessing.
#pragma once

#include <cstdint>
#include <vector>

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

}  // namespace headrace
