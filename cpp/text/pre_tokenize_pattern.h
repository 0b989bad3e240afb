// Split: a regular expression says what the delimiters are (or, inverted, what lies between them).
#pragma once

#include <array>

#include "text/pattern_scan.h"
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

// Three patterns one after the other, each of which splits the pieces that the one before left, and isolates
// its matches: for those that joint_pattern() knows, all in one pass.
class JointSplitter : public PreTokenizer {
 public:
  JointSplitter(KnownPattern known, std::array<Regex, 3> steps) : known_(known), steps_(std::move(steps)) {}

  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  // Where no match of the patterns that starts at `at` ends later.
  static uint32_t border_behind(std::string_view text, uint32_t at, uint32_t end);

  KnownPattern known_;
  std::array<Regex, 3> steps_;
};

// The pattern that matches a string and nothing else.
std::string escape_regex(std::string_view literal);

}  // namespace headrace
