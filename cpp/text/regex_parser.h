// The parser behind parse_regex; internal to regex_parse*.cc and regex_tree.cc.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex_syntax.h"

namespace headrace {

class RegexParser {
 public:
  explicit RegexParser(std::string_view pattern);
  RegexTree parse();

 private:
  static constexpr size_t kMaxPatternBytes = 1 << 16;
  static constexpr int kMaxDepth = 100;
  static constexpr int kMaxRepeat = 100000;  // as in the reference

  // What (?imx) switch on.
  struct Options {
    bool ignore_case = false;
    bool dot_matches_newline = false;
    bool extended = false;
  };

  // What an escape or an item of a bracket denotes: a character, or else a set.
  struct Atom {
    bool is_literal;
    char32_t literal;
    CharSet set;
  };

  // One node, or a literal that is not a node yet, as its neighbours matter where case does not.
  struct Term {
    int node = -1;
    char32_t literal = 0;
    bool is_literal = false;
  };

  struct Quantifier {
    int min;
    int max;
    RegexNode::Greed greed;
  };

  // regex_parse.cc: expressions.
  int alternatives(Options options);
  int sequence(Options options);
  Term term(Options options);
  Term escape();
  bool anchor_escape(char32_t letter, int* node);
  int group(Options options);
  int extended_group(Options options);
  int option_group(Options options);
  int look_around(Options options, RegexNode::Kind direction, bool negated);
  int finish_group(Options options);
  bool quantifier(Quantifier* found);
  bool interval(Quantifier* found);
  bool decimal(int* value);
  void skip_group_name(char32_t close);
  void skip_ignored(const Options& options);

  // regex_parse_set.cc: what matches one character.
  CharSet bracket(bool* negated);
  CharSet bracket_items();
  Atom bracket_atom();
  bool posix_class(CharSet* set);
  Atom character_escape(bool in_bracket);
  bool type_escape(char32_t letter, bool in_bracket, CharSet* set);
  CharSet property(bool negated, bool in_bracket);
  static void add_latin_numbers(CharSet* word);
  char32_t hex_escape();
  char32_t octal_escape(int value, int more_digits);
  char32_t code_point(uint64_t value) const;

  // regex_parse_fold.cc: letter case.
  int literal_node(char32_t c, const Options& options);
  void add_folded(std::u32string_view folded, std::vector<int>& items);
  int fold_from(std::u32string_view folded);
  int bracket_node(CharSet set, bool negated, const Options& options);

  // regex_tree.cc: nodes.
  int add(RegexNode node);
  int set_node(const CharSet& set);
  int assertion(RegexNode::Kind kind, const CharSet& set, bool at_edge);
  int concatenation(std::vector<int> children);
  int alternate(std::vector<int> children);
  int repeat(int node, const Quantifier& quantifier);
  int word_boundary(bool negated);
  int line_begin();
  int newline_sequence();
  bool one_character(int node, RegexNode::Kind direction, CharSet* set, bool* at_edge) const;
  bool can_be_empty(int node) const;

  bool done() const { return at_ >= pattern_.size(); }
  bool take(std::string_view text);
  char32_t next_character();
  char32_t peek() const { return done() ? 0 : static_cast<uint8_t>(pattern_[at_]); }

  [[noreturn]] void malformed(std::string_view what) const;
  [[noreturn]] void unsupported(std::string_view what) const;

  std::string_view pattern_;
  size_t at_ = 0;
  int depth_ = 0;
  RegexTree tree_;
  std::map<CharSet, int> set_index_;
};

}  // namespace headrace
