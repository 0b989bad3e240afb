// Rewrites a text character by character and finds the origin of each by counting, as the reference does.
//
// The reference describes a new text as characters with a change each: 0 replaces the next old character, 1
// is inserted, -n replaces the next old character and drops n behind it. A new character stems from the old
// one that it replaces; an inserted one from the old one before it. Where a stage reorders characters or
// miscounts, its origins do, too, and offsets follow.
#pragma once

#include <string>

#include "base/utf8.h"
#include "text/aligned_text.h"
#include "text/ascii_run.h"

namespace headrace {

class PairedRewrite {
 public:
  explicit PairedRewrite(AlignedText& text) : bytes_(text.bytes()), out_(text) {}

  // The first old byte that is not yet accounted for.
  size_t cursor() const { return at_; }

  // Leaves old bytes from the cursor to `end` as they are.
  void keep_to(size_t end) {
    out_.keep(at_, end);
    at_ = end;
  }

  void put(char32_t c, int change) {
    if (change > 0 && at_ == 0) {
      std::string bytes;
      utf8_append(c, bytes);
      return out_.put_unplaced(bytes);
    }
    // A miscount can run past the end, where the reference has no answer.
    out_.put(c, change > 0 || at_ == bytes_.size() ? utf8_begin(bytes_, at_ - 1) : at_);
    for (; change <= 0 && at_ < bytes_.size(); ++change) at_ += utf8_length(bytes_[at_]);
  }

  void finish() { out_.finish(); }

 private:
  const std::string_view bytes_;
  AlignedText::Rewrite out_;
  size_t at_ = 0;
};

}  // namespace headrace
