// Expressions: alternatives, sequences, groups, quantifiers.
#include "base/error.h"
#include "base/utf8.h"
#include "text/regex_parser.h"
#include "text/unicode_properties.h"

namespace headrace {

RegexParser::RegexParser(std::string_view pattern) : pattern_(pattern) {
  if (pattern.size() > kMaxPatternBytes)
    throw Error(ErrorKind::kUnsupported, concat("a regular expression of ", pattern.size(),
                                                " bytes: at most 65536 are supported; shorten it"));
  if (utf8_first_invalid(pattern) != pattern.size()) malformed("not UTF-8");
}

RegexTree RegexParser::parse() {
  tree_.root = alternatives({});
  if (!done()) malformed("a closing parenthesis without its opening one");
  return std::move(tree_);
}

int RegexParser::alternatives(Options options) {
  if (++depth_ > kMaxDepth) unsupported("groups nested more than 100 deep");
  std::vector<int> children = {sequence(options)};
  while (take("|")) children.push_back(sequence(options));
  --depth_;
  return alternate(std::move(children));
}

int RegexParser::sequence(Options options) {
  std::vector<int> items;
  std::u32string folded;  // literals in a row whose case does not matter
  while (true) {
    skip_ignored(options);
    if (done() || peek() == '|' || peek() == ')') break;
    const Term next = term(options);
    Quantifier found;
    bool is_quantified = quantifier(&found);
    if (next.is_literal && options.ignore_case && !is_quantified) {
      folded += fold_case(next.literal);
      continue;
    }
    add_folded(folded, items);
    folded.clear();
    int node = next.is_literal ? literal_node(next.literal, options) : next.node;
    for (int stacked = 0; is_quantified; is_quantified = quantifier(&found)) {
      if (++stacked > kMaxDepth) unsupported("more than 100 quantifiers in a row");
      node = repeat(node, found);
      skip_ignored(options);
    }
    items.push_back(node);
  }
  add_folded(folded, items);
  return concatenation(std::move(items));
}

RegexParser::Term RegexParser::term(Options options) {
  const char32_t c = next_character();
  switch (c) {
    case '\\':
      return escape();
    case '(':
      return {.node = group(options)};
    case '[': {
      bool negated = false;
      CharSet set = bracket(&negated);
      return {.node = bracket_node(std::move(set), negated, options)};
    }
    case '.':
      return {.node = set_node(options.dot_matches_newline ? CharSet(0, CharSet::kLast)
                                                           : CharSet('\n', '\n').complement())};
    case '^':
      return {.node = line_begin()};
    case '$':
      return {.node = assertion(RegexNode::kAhead, CharSet('\n', '\n'), true)};
    case '*':
    case '+':
    case '?':
      malformed("a quantifier with nothing to repeat");
    default:
      return {.literal = c, .is_literal = true};
  }
}

RegexParser::Term RegexParser::escape() {
  if (done()) malformed("a backslash at the end");
  const size_t start = at_;
  const char32_t letter = next_character();
  int node = -1;
  if (anchor_escape(letter, &node)) return {.node = node};
  if (letter == 'R') return {.node = newline_sequence()};
  if (letter == 'N') return {.node = set_node(CharSet('\n', '\n').complement())};
  if (letter == 'O') return {.node = set_node(CharSet(0, CharSet::kLast))};
  if (letter >= '1' && letter <= '9') unsupported("a back reference");
  switch (letter) {
    case 'k':
      unsupported("a back reference");
    case 'g':
      unsupported("a call of a group");
    case 'Z':
    case 'G':
    case 'K':
    case 'X':
    case 'y':
    case 'Y':
      unsupported(concat("\\", static_cast<char>(letter)));
    default:
      break;
  }
  at_ = start;
  Atom atom = character_escape(false);
  if (atom.is_literal) return {.literal = atom.literal, .is_literal = true};
  // Classes of characters are the same whatever the letter case.
  return {.node = set_node(atom.set)};
}

bool RegexParser::anchor_escape(char32_t letter, int* node) {
  switch (letter) {
    case 'A':
      *node = assertion(RegexNode::kBehind, CharSet(), true);
      return true;
    case 'z':
      *node = assertion(RegexNode::kAhead, CharSet(), true);
      return true;
    case 'b':
    case 'B':
      *node = word_boundary(letter == 'B');
      return true;
    default:
      return false;
  }
}

int RegexParser::group(Options options) {
  if (peek() == '*') unsupported("(*...), a callout");
  return take("?") ? extended_group(options) : finish_group(options);
}

int RegexParser::finish_group(Options options) {
  const int node = alternatives(options);
  if (!take(")")) malformed("a group that is not closed");
  return node;
}

// Behind "(?".
int RegexParser::extended_group(Options options) {
  if (take("#")) {
    while (!done() && peek() != ')') {
      if (next_character() == '\\' && !done()) next_character();
    }
    if (!take(")")) malformed("a comment that is not closed");
    return concatenation({});
  }
  if (take(":")) return finish_group(options);
  if (take("=")) return look_around(options, RegexNode::kAhead, false);
  if (take("!")) return look_around(options, RegexNode::kAhead, true);
  if (take("<=")) return look_around(options, RegexNode::kBehind, false);
  if (take("<!")) return look_around(options, RegexNode::kBehind, true);
  if (take(">")) return add({.kind = RegexNode::kAtomic, .children = {finish_group(options)}});
  if (take("<")) {
    skip_group_name('>');
    return finish_group(options);
  }
  if (take("'")) {
    skip_group_name('\'');
    return finish_group(options);
  }
  if (peek() == '~') unsupported("(?~...), an absence");
  if (peek() == '(') unsupported("(?(...)...), a condition");
  if (peek() == '{') unsupported("(?{...}), a callout");
  return option_group(options);
}

// "(?i-m:...)", or "(?i)", which holds until the enclosing group ends and takes its alternatives in.
int RegexParser::option_group(Options options) {
  bool value = true;
  while (true) {
    if (done()) malformed("a group that is not closed");
    switch (next_character()) {
      case '-':
        value = false;
        break;
      case 'i':
        options.ignore_case = value;
        break;
      case 'm':
        options.dot_matches_newline = value;
        break;
      case 'x':
        options.extended = value;
        break;
      case ':':
        return finish_group(options);
      case ')':
        return alternatives(options);
      case 'W':
      case 'D':
      case 'S':
      case 'P':
      case 'C':
      case 'I':
      case 'L':
      case 'y':
        unsupported("an option of a group other than i, m and x");
      default:
        malformed("a group of an unknown kind");
    }
  }
}

int RegexParser::look_around(Options options, RegexNode::Kind direction, bool negated) {
  const int inner = finish_group(options);
  CharSet set;
  bool at_edge = false;
  if (can_be_empty(inner)) {
    // Holds everywhere.
    return negated ? assertion(direction, CharSet(), false) : concatenation({});
  }
  if (!one_character(inner, direction, &set, &at_edge))
    unsupported(direction == RegexNode::kAhead ? "look-ahead over more than one character"
                                               : "look-behind over more than one character");
  return negated ? assertion(direction, set.complement(), !at_edge) : assertion(direction, set, at_edge);
}

bool RegexParser::quantifier(Quantifier* found) {
  if (take("?")) {
    *found = {0, 1, RegexNode::kGreedy};
  } else if (take("*")) {
    *found = {0, RegexNode::kUnlimited, RegexNode::kGreedy};
  } else if (take("+")) {
    *found = {1, RegexNode::kUnlimited, RegexNode::kGreedy};
  } else {
    return interval(found);
  }
  if (take("?")) {
    found->greed = RegexNode::kLazy;
  } else if (take("+")) {
    found->greed = RegexNode::kPossessive;
  }
  return true;
}

// Braces that hold no interval are ordinary characters. "{2}?" is an optional "{2}", "{1,2}+" a repeated
// "{1,2}", and the interval with its ends swapped is possessive.
bool RegexParser::interval(Quantifier* found) {
  const size_t start = at_;
  if (!take("{")) return false;
  int min = 0;
  int max = 0;
  const bool has_min = decimal(&min);
  const bool has_comma = take(",");
  const bool has_max = has_comma && decimal(&max);
  if ((!has_min && !has_max) || !take("}")) {
    at_ = start;
    return false;
  }
  if (!has_comma) {
    *found = {min, min, RegexNode::kGreedy};
    return true;
  }
  *found = {min, has_max ? max : RegexNode::kUnlimited, RegexNode::kGreedy};
  if (has_max && min > max) {
    *found = {max, min, RegexNode::kPossessive};
  } else if (take("?")) {
    found->greed = RegexNode::kLazy;
  }
  return true;
}

bool RegexParser::decimal(int* value) {
  const size_t start = at_;
  for (*value = 0; peek() >= '0' && peek() <= '9'; ++at_) {
    *value = *value * 10 + static_cast<int>(peek() - '0');
    if (*value > kMaxRepeat) malformed("more than 100000 repetitions");
  }
  return at_ > start;
}

void RegexParser::skip_group_name(char32_t close) {
  const size_t start = at_;
  while (!done() && peek() != close && peek() != ')') next_character();
  if (at_ == start || peek() != close) malformed("a group with a malformed name");
  ++at_;
}

void RegexParser::skip_ignored(const Options& options) {
  if (!options.extended) return;
  while (!done()) {
    const char32_t c = peek();
    if (c == '#') {
      while (!done() && peek() != '\n') ++at_;
    } else if (c == ' ' || (c >= '\t' && c <= '\r')) {
      ++at_;
    } else {
      return;
    }
  }
}

bool RegexParser::take(std::string_view text) {
  if (!pattern_.substr(at_).starts_with(text)) return false;
  at_ += text.size();
  return true;
}

char32_t RegexParser::next_character() {
  const size_t length = utf8_sequence_length(pattern_, at_);
  const char32_t c = utf8_decode(pattern_.data() + at_, length);
  at_ += length;
  return c;
}

void RegexParser::malformed(std::string_view what) const {
  throw Error(ErrorKind::kCorruptFile, concat("regular expression '", pattern_, "', byte ", at_, ": ", what,
                                              "; write it in the syntax of Oniguruma"));
}

void RegexParser::unsupported(std::string_view what) const {
  throw Error(ErrorKind::kUnsupported, concat("regular expression '", pattern_, "', byte ", at_, ": ", what,
                                              " is not supported; write it without"));
}

RegexTree parse_regex(std::string_view pattern) { return RegexParser(pattern).parse(); }

}  // namespace headrace
