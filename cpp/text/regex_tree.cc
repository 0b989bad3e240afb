// Nodes of the tree, and constructs that are put in terms of others.
#include <algorithm>

#include "text/regex_parser.h"
#include "text/unicode_properties.h"

namespace headrace {

int RegexParser::add(RegexNode node) {
  tree_.nodes.push_back(std::move(node));
  return static_cast<int>(tree_.nodes.size()) - 1;
}

int RegexParser::set_node(const CharSet& set) {
  const auto [known, is_new] = set_index_.try_emplace(set, static_cast<int>(tree_.sets.size()));
  if (is_new) tree_.sets.push_back(set);
  return add({.kind = RegexNode::kSet, .set = known->second});
}

int RegexParser::assertion(RegexNode::Kind kind, const CharSet& set, bool at_edge) {
  const int node = set_node(set);
  tree_.nodes.back().kind = kind;
  tree_.nodes.back().at_edge = at_edge;
  return node;
}

int RegexParser::concatenation(std::vector<int> children) {
  if (children.size() == 1) return children[0];
  return add({.kind = RegexNode::kConcat, .children = std::move(children)});
}

// Alternatives that are all sets are one set: which of them matches cannot be told apart.
int RegexParser::alternate(std::vector<int> children) {
  if (children.size() == 1) return children[0];
  const auto is_set = [&](int child) {
    return tree_.nodes[static_cast<size_t>(child)].kind == RegexNode::kSet;
  };
  if (!std::all_of(children.begin(), children.end(), is_set))
    return add({.kind = RegexNode::kAlternate, .children = std::move(children)});
  std::vector<CharRange> ranges;
  for (int child : children) {
    const auto set = static_cast<size_t>(tree_.nodes[static_cast<size_t>(child)].set);
    ranges.insert(ranges.end(), tree_.sets[set].ranges().begin(), tree_.sets[set].ranges().end());
  }
  return set_node(CharSet(std::move(ranges)));
}

int RegexParser::repeat(int node, const Quantifier& quantifier) {
  return add({.kind = RegexNode::kRepeat,
              .greed = quantifier.greed,
              .min = quantifier.min,
              .max = quantifier.max,
              .children = {node}});
}

int RegexParser::word_boundary(bool negated) {
  CharSet word = *named_property("word");
  add_latin_numbers(&word);
  const CharSet other = word.complement();
  const auto both = [&](const CharSet& before, bool at_begin, const CharSet& after, bool at_end) {
    return concatenation(
        {assertion(RegexNode::kBehind, before, at_begin), assertion(RegexNode::kAhead, after, at_end)});
  };
  if (negated) return alternate({both(word, false, word, false), both(other, true, other, true)});
  return alternate({both(word, false, other, true), both(other, true, word, false)});
}

// Begins a line: the text, or what follows a newline unless nothing does.
int RegexParser::line_begin() {
  return alternate({assertion(RegexNode::kBehind, CharSet(), true),
                    concatenation({assertion(RegexNode::kBehind, CharSet('\n', '\n'), false),
                                   assertion(RegexNode::kAhead, CharSet(0, CharSet::kLast), false)})});
}

// \R does not give back the second half of "\r\n".
int RegexParser::newline_sequence() {
  const int pair = concatenation({set_node(CharSet('\r', '\r')), set_node(CharSet('\n', '\n'))});
  const int single_return = concatenation(
      {set_node(CharSet('\r', '\r')), assertion(RegexNode::kAhead, CharSet('\n', '\n').complement(), true)});
  const CharSet others({{'\n', '\f'}, {0x85, 0x85}, {0x2028, 0x2029}});
  return alternate({pair, single_return, set_node(others)});
}

bool RegexParser::can_be_empty(int index) const {
  const RegexNode& node = tree_.nodes[static_cast<size_t>(index)];
  const auto empty = [&](int child) { return can_be_empty(child); };
  switch (node.kind) {
    case RegexNode::kConcat:
      return std::all_of(node.children.begin(), node.children.end(), empty);
    case RegexNode::kAlternate:
      return std::any_of(node.children.begin(), node.children.end(), empty);
    case RegexNode::kRepeat:
      return node.min == 0 || can_be_empty(node.children[0]);
    case RegexNode::kAtomic:
      return can_be_empty(node.children[0]);
    default:
      return false;  // assertions are empty, but do not always match
  }
}

// Whether what a look-around holds can be decided by the one next (or last) character: if so, adds those for
// which it holds. The caller knows that it cannot be empty.
bool RegexParser::one_character(int index, RegexNode::Kind direction, CharSet* set, bool* at_edge) const {
  const RegexNode& node = tree_.nodes[static_cast<size_t>(index)];
  const auto recurse = [&](int child) { return one_character(child, direction, set, at_edge); };
  switch (node.kind) {
    case RegexNode::kAhead:
    case RegexNode::kBehind:
      if (node.kind != direction) return false;
      *at_edge = *at_edge || node.at_edge;
      set->add(tree_.sets[static_cast<size_t>(node.set)]);
      return true;
    case RegexNode::kSet:
      set->add(tree_.sets[static_cast<size_t>(node.set)]);
      return true;
    case RegexNode::kAlternate:
      return std::all_of(node.children.begin(), node.children.end(), recurse);
    case RegexNode::kConcat: {
      // Of "\s+.*" only the first character matters, as the rest can be empty.
      const bool forward = direction == RegexNode::kAhead;
      if (node.children.empty()) return false;
      const size_t deciding = forward ? 0 : node.children.size() - 1;
      for (size_t i = 0; i < node.children.size(); ++i)
        if (i != deciding && !can_be_empty(node.children[i])) return false;
      return !can_be_empty(node.children[deciding]) && recurse(node.children[deciding]);
    }
    case RegexNode::kRepeat:
      return node.min == 1 && recurse(node.children[0]);
    default:
      return false;
  }
}

}  // namespace headrace
