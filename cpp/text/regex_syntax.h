// What a regular expression says, as a tree: patterns in the syntax of Oniguruma, which the reference uses.
//
// The tree has few kinds of nodes; everything else is put in terms of them: a literal is a set of one
// character, '.' is all but a newline, '^' an assertion about the character before, '\b' two alternatives of
// assertions. See https://github.com/kkos/oniguruma/blob/master/doc/RE for the language.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/char_set.h"

namespace headrace {

struct RegexNode {
  enum Kind : uint8_t {
    kConcat,     // children in order; none: matches the empty string
    kAlternate,  // the first child that leads to a match
    kSet,        // one character of `set`
    kRepeat,     // children[0], min to max times
    kAtomic,     // children[0]; once matched, no other way to match it is tried
    kAhead,      // empty: the next character is in `set`, or there is none and at_edge
    kBehind,     // empty: the same of the character before
  };
  enum Greed : uint8_t { kGreedy, kLazy, kPossessive };
  static constexpr int kUnlimited = -1;

  Kind kind = kConcat;
  Greed greed = kGreedy;
  bool at_edge = false;
  int set = -1;  // index into RegexTree::sets
  int min = 0;
  int max = 0;
  std::vector<int> children;  // indices into RegexTree::nodes
};

struct RegexTree {
  std::vector<RegexNode> nodes;
  std::vector<CharSet> sets;  // all different
  int root = -1;
};

// Throws Error(kCorruptFile) for a malformed pattern and Error(kUnsupported) for constructs that have no
// place in the tree. The tree's size is linear in the pattern's; its depth is bounded.
RegexTree parse_regex(std::string_view pattern);

}  // namespace headrace
