// A prompt and, in turn, each text behind it. Private to engine/.
#pragma once

#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace headrace {

class Prompted {
 public:
  // The program or the model's files wrote the prompt, so a special token that is spelled out in it is one;
  // in the texts it stays text.
  Prompted(const Tokenizer& tokenizer, std::string_view prompt) : size_(prompt.size()), joined_(prompt) {
    if (prompt.empty()) return;
    std::vector<int32_t> plain, special;
    tokenizer.encode_ids(prompt, {.add_special_tokens = false, .allow_special = false}, plain);
    tokenizer.encode_ids(prompt, {.add_special_tokens = false, .allow_special = true}, special);
    special_ = plain != special;
  }

  bool special() const { return special_; }

  // The prompt and the text, until the next call. An empty text stays empty, to be refused.
  std::string_view with(std::string_view text) {
    if (size_ == 0 || text.empty()) return text;
    joined_.resize(size_);
    joined_ += text;
    if (special_) {
      guarded_.resize(text.size());
      std::iota(guarded_.begin(), guarded_.end(), static_cast<uint32_t>(size_));
    }
    return joined_;
  }
  // How to encode what with() gave.
  EncodeOptions options(int64_t max_tokens) const {
    return {
        .add_special_tokens = true, .allow_special = special_, .max_tokens = max_tokens, .guarded = guarded_};
  }

 private:
  size_t size_;
  bool special_ = false;
  std::string joined_;
  std::vector<uint32_t> guarded_;
};

}  // namespace headrace
