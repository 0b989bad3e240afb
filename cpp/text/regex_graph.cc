#include <algorithm>

#include "base/error.h"
#include "text/regex_program.h"

namespace headrace {
namespace {

// Builds backwards: each node gets to know what follows it.
class GraphBuilder {
 public:
  GraphBuilder(RegexTree& tree, std::vector<RegexGraph::Place>& places) : tree_(tree), places_(places) {}

  // The place where node begins, which goes on to `next`. is_last: nothing but the match follows.
  int build(int index, int next, bool is_last) {
    const RegexNode node = tree_.nodes[static_cast<size_t>(index)];
    switch (node.kind) {
      case RegexNode::kConcat:
        for (size_t i = node.children.size(); i-- > 0;) {
          next = build(node.children[i], next, is_last);
          is_last = is_last && can_be_last(node.children[i]);
        }
        return next;
      case RegexNode::kAlternate: {
        int place = build(node.children.back(), next, is_last);
        for (size_t i = node.children.size() - 1; i-- > 0;)
          place = split(build(node.children[i], next, is_last), place, RegexNode::kGreedy);
        return place;
      }
      case RegexNode::kSet:
        return add({RegexGraph::Place::kSet, false, node.set, next, -1});
      case RegexNode::kAhead:
        return add({RegexGraph::Place::kAhead, node.at_edge, node.set, next, -1});
      case RegexNode::kBehind:
        return add({RegexGraph::Place::kBehind, node.at_edge, node.set, next, -1});
      case RegexNode::kAtomic:
        return is_last ? build(node.children[0], next, true) : build(atomic(node.children[0]), next, false);
      case RegexNode::kRepeat:
        return repeat(node, next, is_last);
    }
    return next;
  }

 private:
  int add(RegexGraph::Place place) {
    if (places_.size() >= RegexGraph::kMaxPlaces)
      throw Error(ErrorKind::kUnsupported,
                  "a regular expression whose repetitions, written out, have more "
                  "than 20000 parts is not supported; shorten it");
    places_.push_back(place);
    return static_cast<int>(places_.size()) - 1;
  }

  int split(int first, int second, RegexNode::Greed greed) {
    if (greed == RegexNode::kLazy) std::swap(first, second);
    return add({RegexGraph::Place::kSplit, false, -1, first, second});
  }

  const RegexNode& at(int index) const { return tree_.nodes[static_cast<size_t>(index)]; }

  // Only a node that matches the empty string and nothing else keeps what is before it last.
  bool can_be_last(int index) const {
    return at(index).kind == RegexNode::kConcat && at(index).children.empty();
  }

  bool can_be_empty(int index) const {
    const RegexNode& node = at(index);
    const auto empty = [&](int child) { return can_be_empty(child); };
    switch (node.kind) {
      case RegexNode::kSet:
        return false;
      case RegexNode::kConcat:
        return std::all_of(node.children.begin(), node.children.end(), empty);
      case RegexNode::kAlternate:
        return std::any_of(node.children.begin(), node.children.end(), empty);
      case RegexNode::kAtomic:
        return can_be_empty(node.children[0]);
      case RegexNode::kRepeat:
        return node.min == 0 || can_be_empty(node.children[0]);
      default:
        return true;
    }
  }

  int repeat(const RegexNode& node, int next, bool is_last) {
    const int child = node.children[0];
    if (node.max == 0) return next;
    if (node.max != 1 && can_be_empty(child) && !is_simple_run(child)) refuse_empty_rounds();
    if (node.greed == RegexNode::kPossessive && !is_last) {
      // A run of one set that takes all it can: it may end only where the set does.
      const RegexNode& one = at(child);
      if (one.kind != RegexNode::kSet) refuse_atomic();
      const int stop = ends_run(one.set, next);
      if (node.max != RegexNode::kUnlimited) return counted(node, child, next, stop);
      return unlimited(node, child, stop, RegexNode::kGreedy);
    }
    if (node.max == RegexNode::kUnlimited) return unlimited(node, child, next, node.greed);
    int place = next;
    for (int i = node.min; i < node.max; ++i) {
      // Each further one only behind the ones before: (x(x(x)?)?)?
      place = split(build(child, place, is_last && i == node.min && node.max == 1), next, node.greed);
    }
    for (int i = 0; i < node.min; ++i) place = build(child, place, false);
    return place;
  }

  // Possessive, up to max: full, or it ends where the set does.
  int counted(const RegexNode& node, int child, int next, int stop) {
    int place = next;
    for (int i = node.min; i < node.max; ++i)
      place = split(build(child, place, false), stop, RegexNode::kGreedy);
    for (int i = 0; i < node.min; ++i) place = build(child, place, false);
    return place;
  }

  int unlimited(const RegexNode& node, int child, int next, RegexNode::Greed greed) {
    // x* is (x+)?, so that a round that matches nothing ends the loop where it stands among the alternatives.
    const int loop = add({RegexGraph::Place::kSplit, false, -1, -1, -1});
    const int body = build(child, loop, false);
    auto& place = places_[static_cast<size_t>(loop)];
    place.next = greed == RegexNode::kLazy ? next : body;
    place.second = greed == RegexNode::kLazy ? body : next;
    if (node.min == 0) return can_be_empty(child) ? split(body, next, greed) : loop;
    int start = body;
    for (int i = 1; i < node.min; ++i) start = build(child, start, false);
    return start;
  }

  int ends_run(int set, int next) {
    const CharSet others = tree_.sets[static_cast<size_t>(set)].complement();
    return add({RegexGraph::Place::kAhead, true, set_index(others), next, -1});
  }

  int set_index(const CharSet& set) {
    const auto found = std::find(tree_.sets.begin(), tree_.sets.end(), set);
    if (found != tree_.sets.end()) return static_cast<int>(found - tree_.sets.begin());
    tree_.sets.push_back(set);
    return static_cast<int>(tree_.sets.size()) - 1;
  }

  // A node that matches as an atomic group of the given one does.
  int atomic(int index) {
    RegexNode node = at(index);
    switch (node.kind) {
      case RegexNode::kSet:
      case RegexNode::kAhead:
      case RegexNode::kBehind:
      case RegexNode::kAtomic:
        return index;
      case RegexNode::kRepeat:
        if (node.greed == RegexNode::kLazy || at(node.children[0]).kind != RegexNode::kSet) refuse_atomic();
        node.greed = RegexNode::kPossessive;
        break;
      case RegexNode::kConcat:
        // Only the last part may have a choice.
        for (size_t i = 0; i < node.children.size(); ++i) {
          const RegexNode::Kind kind = at(node.children[i]).kind;
          if (i + 1 == node.children.size())
            node.children[i] = atomic(node.children[i]);
          else if (kind == RegexNode::kRepeat || kind == RegexNode::kAlternate || kind == RegexNode::kConcat)
            refuse_atomic();
        }
        break;
      case RegexNode::kAlternate: {
        CharSet begun;
        for (int& child : node.children) {
          child = atomic(child);
          const CharSet& first = first_set(child);
          if (!begun.intersection(first).empty()) refuse_atomic();
          begun.add(first);
        }
        break;
      }
    }
    tree_.nodes.push_back(std::move(node));
    return static_cast<int>(tree_.nodes.size()) - 1;
  }

  const CharSet& first_set(int index) const {
    const RegexNode* node = &at(index);
    while ((node->kind == RegexNode::kConcat && !node->children.empty()) ||
           (node->kind == RegexNode::kRepeat && node->min > 0))
      node = &at(node->children[0]);
    if (node->kind != RegexNode::kSet) refuse_atomic();
    return tree_.sets[static_cast<size_t>(node->set)];
  }

  // Rounds of a loop that match nothing end it in a backtracking engine, with consequences for what is tried
  // next that the automaton shares for these only.
  bool is_simple_run(int index) const {
    const RegexNode& node = at(index);
    return node.kind == RegexNode::kRepeat && node.greed == RegexNode::kGreedy &&
           at(node.children[0]).kind == RegexNode::kSet;
  }

  [[noreturn]] static void refuse_empty_rounds() {
    throw Error(ErrorKind::kUnsupported,
                "a regular expression that repeats what can match the empty string is not supported; let the "
                "repeated part match at least one character");
  }

  [[noreturn]] static void refuse_atomic() {
    throw Error(ErrorKind::kUnsupported,
                "a possessive quantifier or atomic group over more than runs of one class of characters is "
                "not supported; write it with an ordinary quantifier");
  }

  RegexTree& tree_;
  std::vector<RegexGraph::Place>& places_;
};

}  // namespace

RegexGraph::RegexGraph(RegexTree& tree) {
  places.push_back({Place::kMatch, false, -1, -1, -1});
  start = GraphBuilder(tree, places).build(tree.root, 0, true);
}

}  // namespace headrace
