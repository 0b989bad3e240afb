// Letter case. With (?i) a character stands for all that fold to the same, and as some fold to two or three
// characters ("\xDF" is "ss"), so do literals in a row.
#include <algorithm>

#include "text/regex_parser.h"
#include "text/unicode_properties.h"

namespace headrace {
namespace {

CharSet case_variants(char32_t c) {
  CharSet set(c, c);
  add_case_variants(set);
  return set;
}

}  // namespace

int RegexParser::literal_node(char32_t c, const Options& options) {
  if (!options.ignore_case) return set_node(CharSet(c, c));
  std::vector<int> items;
  add_folded(fold_case(c), items);
  return concatenation(std::move(items));
}

// Appends nodes for literals in a row, which are folded already. Of the long foldings that begin at a
// character the longest counts, as in the reference.
void RegexParser::add_folded(std::u32string_view folded, std::vector<int>& items) {
  while (!folded.empty()) {
    size_t length = 1;
    std::vector<CharRange> whole;
    for (const LongFolding& row : long_foldings()) {
      if (row.size() < length || !folded.starts_with(std::u32string_view(row.folded, row.size()))) continue;
      if (row.size() > length) whole.clear();
      length = row.size();
      whole.push_back({row.character, row.character});
    }
    std::vector<int> parts;
    for (size_t i = 0; i < length; ++i) parts.push_back(set_node(case_variants(folded[i])));
    int node = concatenation(std::move(parts));
    if (!whole.empty()) node = alternate({node, set_node(CharSet(std::move(whole)))});
    items.push_back(node);
    folded.remove_prefix(length);
  }
}

// A bracket. Only what it says outright can stand for two or three characters, not what it excludes.
int RegexParser::bracket_node(CharSet set, bool negated, const Options& options) {
  if (!options.ignore_case) return set_node(negated ? set.complement() : set);
  std::vector<int> alternatives = {-1};
  std::vector<std::u32string_view> seen;
  std::vector<CharRange> same_folding;
  for (const LongFolding& row : long_foldings()) {
    if (!set.contains(row.character)) continue;
    const std::u32string_view folded(row.folded, row.size());
    if (std::find(seen.begin(), seen.end(), folded) != seen.end()) continue;
    seen.push_back(folded);
    for (const LongFolding& other : long_foldings())
      if (folded == std::u32string_view(other.folded, other.size()))
        same_folding.push_back({other.character, other.character});
  }
  add_case_variants(set);
  set.add(CharSet(std::move(same_folding)));
  if (negated) return set_node(set.complement());
  for (std::u32string_view folded : seen) {
    const auto is_member = [&](char32_t c) { return set.contains(c); };
    // Characters that match one by one need no second way to match together.
    if (std::all_of(folded.begin(), folded.end(), is_member)) continue;
    std::vector<int> parts;
    for (char32_t c : folded) parts.push_back(set_node(case_variants(c)));
    alternatives.push_back(concatenation(std::move(parts)));
  }
  alternatives[0] = set_node(set);
  return alternate(std::move(alternatives));
}

}  // namespace headrace
