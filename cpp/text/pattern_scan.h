// The patterns of byte-level models without an automaton: 64 bytes at a time, as arithmetic on bit masks.
//
// An automaton branches at the end of each match, and on text a processor guesses that end wrong nearly every
// time. Here one bit of a word stands for one byte of text. Comparisons give a mask for each kind of
// character, shifts and additions give the places where matches begin, and only their number is left to
// guess. (The idea of text as bit masks: Cameron, Herdy and Lin 2008, "High Performance XML Parsing Using
// Parallel Bit Streams".)
//
// A window of 64 bytes begins where a match begins, so nothing is carried over from one window to the next.
// What the window does not settle (a match that reaches its end, a rare mixture of characters) is left to the
// automaton, whose matches these are.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "text/aligned_text.h"

namespace headrace {

enum class KnownPattern {
  kNone,
  kGpt2,      // ByteLevel's own
  kCl100k,    // cl100k_base, Llama 3
  kQwen2,     // the same with every digit a match
  kO200k,     // o200k_base
  kDeepSeek,  // not one pattern: joint_pattern()
};

// Which of them a regular expression is, letter by letter.
KnownPattern known_pattern(std::string_view pattern);

// Which of them three patterns are, each of which splits what the one before left.
KnownPattern joint_pattern(std::string_view first, std::string_view second, std::string_view third);

// Appends the matches of the pattern from text[at] on, where one begins, to out and returns where the first
// begins that is not settled: `end` when all are. Matches see nothing of the text from `end` on. text:
// well-formed UTF-8.
size_t scan_pattern(KnownPattern pattern, std::string_view text, size_t at, size_t end,
                    std::vector<Piece>& out);

}  // namespace headrace
