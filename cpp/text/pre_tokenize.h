// Pre-tokenizers: each splits every piece of a text further; Metaspace and ByteLevel also rewrite it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "text/normalize_replace.h"
#include "text/stages.h"

namespace headrace {

// What becomes of the matches of a pattern that splits a text.
enum class SplitBehavior : uint8_t { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// A stretch between or of matches, on its way to pieces.
struct Match {
  Piece piece;
  bool is_match;
};

// Turns matches and what is between them, which cover a piece in order, into pieces by a behavior, and
// appends those that are not empty.
void append_pieces(std::vector<Match>& matches, SplitBehavior behavior, std::vector<Piece>& pieces);

class Split : public PreTokenizer {
 public:
  // invert: what matches is kept, what does not is the separator.
  Split(Pattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// Splits by a property of single characters, each of which is one match.
class SplitCharacters : public PreTokenizer {
 public:
  using Test = bool (*)(char32_t);

  SplitCharacters(Test test, SplitBehavior behavior) : test_(test), behavior_(behavior) {}
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  Test test_;
  SplitBehavior behavior_;
};

// The pre-tokenizer Whitespace: runs of word characters and runs of others, without white space.
class Words : public PreTokenizer {
 public:
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;
};

// Pieces of a fixed number of characters; the last of a piece may be shorter.
class FixedLength : public PreTokenizer {
 public:
  explicit FixedLength(int64_t length) : length_(length) {}
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  int64_t length_;
};

// Spaces become a visible character, and words begin with one (Kudo & Richardson 2018).
class Metaspace : public PreTokenizer {
 public:
  enum class Prepend : uint8_t { kAlways, kFirst, kNever };

  Metaspace(std::string replacement, Prepend prepend, bool is_splitting)
      : replacement_(std::move(replacement)), prepend_(prepend), is_splitting_(is_splitting) {}
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  std::string replacement_;
  Prepend prepend_;
  bool is_splitting_;
};

// GPT-2's: an optional space in front, its pattern unless use_regex is false, and unless raw each byte as the
// character that spells it.
class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex, bool raw);
  void split(AlignedText& text, std::vector<Piece>& pieces) const override;

 private:
  bool add_prefix_space_;
  bool raw_;
  std::unique_ptr<Split> pattern_;
};

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> steps)
      : steps_(std::move(steps)) {}
  void split(AlignedText& text, std::vector<Piece>& pieces) const override {
    for (const auto& step : steps_) step->split(text, pieces);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

}  // namespace headrace
