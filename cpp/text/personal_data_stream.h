// Personal data in text that arrives in pieces: what is found is what a search of the whole text finds,
// wherever it was cut.
//
//   PersonalDataStream stream(kinds);
//   for (piece) stream.feed(piece, out);    out.text may go on: nothing of a finding is cut off
//   stream.finish(out);
//
// At most kReachBehind + kReachAhead bytes are held back, as a rule the last few words: a comma, a newline or
// the space behind a longer word lets all before them go. Not thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "text/personal_data.h"

namespace headrace {

class PersonalDataStream {
 public:
  struct Released {
    std::string text;               // as it came
    std::vector<Finding> findings;  // offsets within text
  };

  explicit PersonalDataStream(PersonalKinds kinds = kAllPersonalKinds) : kinds_(kinds) {}

  // Takes the next piece; returns what no later piece can change.
  Released feed(std::string_view piece);
  // The rest. A new text may follow.
  Released finish();

 private:
  Released release(size_t until);

  PersonalKinds kinds_;
  std::string buffer_;   // what is held back, and up to kReachBehind bytes and more in front of it
  size_t released_ = 0;  // bytes of the buffer that are out already
  size_t break_ = 0;     // the last place known that no finding goes across
  SearchPlace place_;
  std::vector<Finding> found_;  // not released yet
};

}  // namespace headrace
