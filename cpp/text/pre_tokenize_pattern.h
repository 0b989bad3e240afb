// Split: a regular expression says what the delimiters are (or, inverted, what lies between them).
#pragma once

#include "text/regex.h"
#include "text/split_behavior.h"
#include "text/stages.h"

namespace headrace {

class PatternSplitter : public PreTokenizer {
 public:
  PatternSplitter(Regex regex, SplitBehavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}

  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  Regex regex_;
  SplitBehavior behavior_;
  bool invert_;
};

// The pattern that matches a string and nothing else.
std::string escape_regex(std::string_view literal);

}  // namespace headrace
