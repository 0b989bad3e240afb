// A regular expression as a deterministic automaton over classes of characters.
//
// All sets of the pattern cut Unicode into classes; characters of one class are never told apart. A state is
// a list of places in the pattern, best first, as a backtracking engine would try them; places behind one
// that has matched are dropped. Assertions about the next character are decided by the transition on its
// class, which therefore also says whether the text up to the character is a match. The text's end is a class
// too.
#pragma once

#include <cstdint>
#include <vector>

#include "text/regex_syntax.h"

namespace headrace {

// Sets as a partition of the characters.
struct CharClasses {
  static constexpr int kBlockBits = 7;
  static constexpr size_t kMaxClasses = 250;

  // Throws Error(kUnsupported) when the sets make more classes than that.
  explicit CharClasses(const std::vector<CharSet>& sets);

  uint32_t of(char32_t c) const {
    if (c < 0x80) return ascii[c];
    const size_t block = index[c >> kBlockBits];
    return blocks[block << kBlockBits | (c & ((1 << kBlockBits) - 1))];
  }

  uint32_t count = 1;  // of classes, the text's end not among them
  uint8_t ascii[128] = {};
  std::vector<uint16_t> index;
  std::vector<uint8_t> blocks;
  std::vector<std::vector<bool>> members;  // [set][class]
};

// The pattern as a graph. An edge is followed without a character but from kSet.
struct RegexGraph {
  struct Place {
    enum Kind : uint8_t { kSet, kSplit, kAhead, kBehind, kMatch };
    Kind kind;
    bool at_edge;  // assertions
    int set;
    int next;
    int second;  // kSplit: tried after next
  };
  static constexpr size_t kMaxPlaces = 20000;

  // Throws Error(kUnsupported) when the graph would be larger, or possessive repetition cannot be expressed.
  explicit RegexGraph(RegexTree& tree);

  std::vector<Place> places;
  int start;
};

struct RegexProgram {
  // An entry of `next`: the row of the next state, and what is known of it.
  static constexpr uint32_t kMatchesBefore = 1;  // the text before this character matches
  static constexpr uint32_t kLoopsOnLower = 2;   // the next state is kept by each of a-z
  static constexpr uint32_t kLoopsOnLetters = 4;
  static constexpr uint32_t kLoops = kLoopsOnLower | kLoopsOnLetters;
  static constexpr uint32_t kLoopMatches = 8;  // and the text before each of those letters matches
  static constexpr int kRowShift = 4;
  static constexpr size_t kMaxEntries = 1 << 20;
  static constexpr int64_t kMaxWork = 30'000'000;

  explicit RegexProgram(RegexTree tree);

  CharClasses classes;
  uint32_t end_class;
  uint32_t num_columns;             // a row: one entry per class and one for the text's end
  std::vector<uint32_t> next;       // row 0 is the dead state
  std::vector<uint32_t> start_row;  // by the class before; end_class at the beginning of the text
};

}  // namespace headrace
