#include "text/regex_program.h"

#include <algorithm>
#include <map>

#include "base/error.h"

namespace headrace {
namespace {

[[noreturn]] void too_large() {
  throw Error(ErrorKind::kUnsupported,
              "a regular expression whose automaton is this large is not supported; "
              "simplify it");
}

// Subset construction that keeps the order of the places.
class Determinizer {
 public:
  Determinizer(const RegexGraph& graph, RegexProgram& program)
      : graph_(graph), program_(program), visited_(graph.places.size(), 0) {
    for (const auto& place : graph.places)
      if (place.kind == Place::kBehind) behind_sets_.push_back(&place);
  }

  void run() {
    state({}, {});  // row 0
    for (uint32_t c = 0; c < program_.num_columns; ++c)
      program_.start_row.push_back(state({graph_.start}, context(c)) * program_.num_columns);
    for (size_t i = 0; i < states_.size(); ++i) expand(i);
    for (uint32_t& entry : program_.next) {
      const uint32_t target = entry >> RegexProgram::kRowShift;
      entry = (target * program_.num_columns) << RegexProgram::kRowShift | (entry & 1);
    }
    mark_loops();
  }

 private:
  using Place = RegexGraph::Place;
  // What the assertions about the character before hold, in the order of behind_sets_.
  using Context = std::vector<bool>;
  using Key = std::pair<std::vector<int>, Context>;

  bool is_member(const Place& place, uint32_t c) const {
    if (c == program_.end_class) return place.at_edge;
    return program_.classes.members[static_cast<size_t>(place.set)][c];
  }

  Context context(uint32_t before) const {
    Context held;
    for (const Place* place : behind_sets_) held.push_back(is_member(*place, before));
    return held;
  }

  uint32_t state(std::vector<int> places, Context held) {
    if (places.empty()) held.clear();
    const auto [known, is_new] = numbers_.try_emplace({std::move(places), std::move(held)}, states_.size());
    if (is_new) {
      states_.push_back(&known->first);
      if (states_.size() * program_.num_columns > RegexProgram::kMaxEntries) too_large();
    }
    return static_cast<uint32_t>(known->second);
  }

  void expand(size_t number) {
    const Key& from = *states_[number];
    for (uint32_t c = 0; c < program_.num_columns; ++c) {
      const bool matches = close(from, c);
      std::vector<int> target;
      ++round_;
      for (int index : reached_) {
        const Place& place = graph_.places[static_cast<size_t>(index)];
        if (c == program_.end_class || !is_member(place, c)) continue;
        auto& seen = visited_[static_cast<size_t>(place.next)];
        if (seen == round_) continue;
        seen = round_;
        target.push_back(place.next);
      }
      program_.next.push_back(state(std::move(target), context(c)) << RegexProgram::kRowShift |
                              (matches ? RegexProgram::kMatchesBefore : 0));
    }
  }

  // Follows edges that take no character, given the class of the next one: the sets that are reached, best
  // first, up to a match. An explicit stack, as repetitions make long chains.
  bool close(const Key& from, uint32_t next_class) {
    reached_.clear();
    ++round_;
    std::vector<int>& stack = stack_;
    stack.assign(from.first.rbegin(), from.first.rend());
    while (!stack.empty()) {
      const int index = stack.back();
      stack.pop_back();
      auto& seen = visited_[static_cast<size_t>(index)];
      if (seen == round_) continue;
      seen = round_;
      if (++work_ > RegexProgram::kMaxWork) too_large();
      const Place& place = graph_.places[static_cast<size_t>(index)];
      switch (place.kind) {
        case Place::kMatch:
          return true;
        case Place::kSet:
          reached_.push_back(index);
          break;
        case Place::kSplit:
          stack.push_back(place.second);
          stack.push_back(place.next);
          break;
        case Place::kAhead:
          if (is_member(place, next_class)) stack.push_back(place.next);
          break;
        case Place::kBehind:
          if (held(from.second, place)) stack.push_back(place.next);
          break;
      }
    }
    return false;
  }

  bool held(const Context& context, const Place& place) const {
    const auto found = std::find(behind_sets_.begin(), behind_sets_.end(), &place);
    return context[static_cast<size_t>(found - behind_sets_.begin())];
  }

  // Runs of letters are what most of a text is, so that a state which stays itself on all of them is marked.
  void mark_loops() {
    const uint8_t* const classes = program_.classes.ascii;
    const auto loops = [&](uint32_t row, uint8_t first, uint8_t last) {
      const uint32_t wanted = program_.next[row + classes[first]];
      if (wanted >> RegexProgram::kRowShift != row) return false;
      for (uint8_t c = first; c <= last; ++c)
        if (program_.next[row + classes[c]] != wanted) return false;
      return true;
    };
    std::vector<uint32_t> marks(states_.size(), 0);
    for (uint32_t number = 1; number < states_.size(); ++number) {
      const uint32_t row = number * program_.num_columns;
      if (!loops(row, 'a', 'z')) continue;
      const uint32_t on_a = program_.next[row + classes[uint8_t{'a'}]];
      const bool both = loops(row, 'A', 'Z') && program_.next[row + classes[uint8_t{'A'}]] == on_a;
      marks[number] = both ? RegexProgram::kLoopsOnLetters : RegexProgram::kLoopsOnLower;
      if ((on_a & RegexProgram::kMatchesBefore) != 0) marks[number] |= RegexProgram::kLoopMatches;
    }
    for (uint32_t& entry : program_.next)
      entry |= marks[(entry >> RegexProgram::kRowShift) / program_.num_columns];
  }

  const RegexGraph& graph_;
  RegexProgram& program_;
  std::vector<const Place*> behind_sets_;
  std::map<Key, size_t> numbers_;
  std::vector<const Key*> states_;
  std::vector<uint64_t> visited_;
  uint64_t round_ = 0;
  int64_t work_ = 0;
  std::vector<int> reached_, stack_;
};

}  // namespace

CharClasses::CharClasses(const std::vector<CharSet>& sets) {
  // Segments of the code points that no set cuts, and the class of each; every set may cut classes in two.
  std::vector<char32_t> starts = {0};
  for (const CharSet& set : sets) {
    for (const CharRange& range : set.ranges()) {
      starts.push_back(range.first);
      starts.push_back(range.last + 1);
    }
    if (starts.size() > (1 << 20)) too_large();
  }
  std::sort(starts.begin(), starts.end());
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  if (starts.back() > CharSet::kLast) starts.pop_back();
  if (starts.size() * sets.size() > (1 << 24)) too_large();
  std::vector<uint32_t> segment_class(starts.size(), 0);
  for (const CharSet& set : sets) {
    std::map<std::pair<uint32_t, bool>, uint32_t> numbers;
    for (size_t i = 0; i < starts.size(); ++i) {
      const auto key = std::make_pair(segment_class[i], set.contains(starts[i]));
      segment_class[i] = numbers.try_emplace(key, static_cast<uint32_t>(numbers.size())).first->second;
    }
    count = static_cast<uint32_t>(numbers.size());
    if (count > kMaxClasses) too_large();
  }
  for (const CharSet& set : sets) {
    members.emplace_back(count, false);
    for (size_t i = 0; i < starts.size(); ++i)
      if (set.contains(starts[i])) members.back()[segment_class[i]] = true;
  }
  std::map<std::string, uint16_t> known;
  std::vector<int> uniform(count, -1);  // the block of each class that is all of that class
  constexpr char32_t kSize = 1 << kBlockBits;
  std::string block(kSize, '\0');
  size_t segment = 0;
  const auto starts_at = [&](char32_t c) { return segment + 1 < starts.size() && starts[segment + 1] <= c; };
  for (char32_t first = 0; first <= CharSet::kLast; first += kSize) {
    while (starts_at(first)) ++segment;
    const uint32_t first_class = segment_class[segment];
    const bool is_uniform = !starts_at(first + kSize - 1);
    if (is_uniform && uniform[first_class] >= 0) {
      index.push_back(static_cast<uint16_t>(uniform[first_class]));
      continue;
    }
    for (char32_t c = first; c < first + kSize; ++c) {
      while (starts_at(c)) ++segment;
      block[c - first] = static_cast<char>(segment_class[segment]);
    }
    const auto [row, is_new] = known.try_emplace(block, static_cast<uint16_t>(known.size()));
    if (is_new) blocks.insert(blocks.end(), block.begin(), block.end());
    index.push_back(row->second);
    if (is_uniform) uniform[first_class] = row->second;
  }
  std::copy_n(blocks.begin() + index[0] * static_cast<ptrdiff_t>(kSize), 128, ascii);
}

// The graph may add sets to the tree, so that it comes before the classes.
RegexProgram::RegexProgram(RegexTree tree) : classes({}) {
  const RegexGraph graph(tree);
  classes = CharClasses(tree.sets);
  end_class = classes.count;
  num_columns = classes.count + 1;
  Determinizer(graph, *this).run();
}

}  // namespace headrace
