#include "text/unicode_properties.h"

#include <algorithm>
#include <map>

namespace headrace {
namespace {

// The ranges [begin, end) of kPropertyRanges.
struct NamedRanges {
  const char* name;
  uint16_t begin;
  uint16_t end;
};

struct SimpleFolding {
  char32_t character;
  char32_t folded;
};

#include "text/unicode_properties.inc"

std::optional<CharSet> tabulated(std::string_view name) {
  const auto* found =
      std::lower_bound(std::begin(kProperties), std::end(kProperties), name,
                       [](const NamedRanges& row, std::string_view key) { return row.name < key; });
  if (found == std::end(kProperties) || found->name != name) return std::nullopt;
  return CharSet(std::vector<CharRange>(kPropertyRanges + found->begin, kPropertyRanges + found->end));
}

CharSet union_of(std::initializer_list<std::string_view> names) {
  CharSet set;
  for (std::string_view name : names) set.add(*named_property(name));
  return set;
}

// Long names of the categories, and the groups of categories.
std::string_view short_name(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"letter", "l"},
      {"casedletter", "lc"},
      {"uppercaseletter", "lu"},
      {"lowercaseletter", "ll"},
      {"titlecaseletter", "lt"},
      {"modifierletter", "lm"},
      {"otherletter", "lo"},
      {"mark", "m"},
      {"combiningmark", "m"},
      {"nonspacingmark", "mn"},
      {"spacingmark", "mc"},
      {"enclosingmark", "me"},
      {"number", "n"},
      {"decimalnumber", "nd"},
      {"digit", "nd"},
      {"letternumber", "nl"},
      {"othernumber", "no"},
      {"punctuation", "p"},
      {"punct", "p"},
      {"connectorpunctuation", "pc"},
      {"dashpunctuation", "pd"},
      {"openpunctuation", "ps"},
      {"closepunctuation", "pe"},
      {"initialpunctuation", "pi"},
      {"finalpunctuation", "pf"},
      {"otherpunctuation", "po"},
      {"symbol", "s"},
      {"mathsymbol", "sm"},
      {"currencysymbol", "sc"},
      {"modifiersymbol", "sk"},
      {"othersymbol", "so"},
      {"separator", "z"},
      {"spaceseparator", "zs"},
      {"lineseparator", "zl"},
      {"paragraphseparator", "zp"},
      {"other", "c"},
      {"control", "cc"},
      {"cntrl", "cc"},
      {"format", "cf"},
      {"privateuse", "co"},
      {"unassigned", "cn"},
      {"space", "whitespace"},
      {"alpha", "alphabetic"},
      {"lower", "lowercase"},
      {"upper", "uppercase"},
  };
  for (const auto& [from, to] : kNames)
    if (from == name) return to;
  return name;
}

std::optional<CharSet> computed(std::string_view name) {
  if (name == "l") return union_of({"lu", "ll", "lt", "lm", "lo"});
  if (name == "lc") return union_of({"lu", "ll", "lt"});
  if (name == "m") return union_of({"mn", "mc", "me"});
  if (name == "n") return union_of({"nd", "nl", "no"});
  if (name == "p") return union_of({"pc", "pd", "ps", "pe", "pi", "pf", "po"});
  if (name == "s") return union_of({"sm", "sc", "sk", "so"});
  if (name == "z") return union_of({"zs", "zl", "zp"});
  if (name == "c") return union_of({"cc", "cf", "co", "cn"});
  if (name == "alphabetic") return union_of({"l", "nl", "otheralphabetic"});
  if (name == "lowercase") return union_of({"ll", "otherlowercase"});
  if (name == "uppercase") return union_of({"lu", "otheruppercase"});
  if (name == "word") return union_of({"alphabetic", "m", "nd", "pc"});
  if (name == "alnum") return union_of({"alphabetic", "nd"});
  if (name == "blank")
    return CharSet({{'\t', '\t'},
                    {' ', ' '},
                    {0xA0, 0xA0},
                    {0x1680, 0x1680},
                    {0x2000, 0x200A},
                    {0x202F, 0x202F},
                    {0x205F, 0x205F},
                    {0x3000, 0x3000}});
  if (name == "xdigit") return CharSet({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
  if (name == "ascii") return CharSet(0, 0x7F);
  if (name == "any") return CharSet(0, CharSet::kLast);
  if (name == "assigned") return named_property("cn")->complement();
  if (name == "graph") return union_of({"whitespace", "cc", "cn"}).complement();
  if (name == "print") return union_of({"graph", "zs"});
  return std::nullopt;
}

// Characters by what they fold to.
const std::multimap<char32_t, char32_t>& variants_by_folding() {
  static const auto* const variants = [] {
    auto* const made = new std::multimap<char32_t, char32_t>;
    for (const auto& [character, folded] : kSimpleFoldings) made->emplace(folded, character);
    return made;
  }();
  return *variants;
}

char32_t simple_folding(char32_t c) {
  const auto* found =
      std::lower_bound(std::begin(kSimpleFoldings), std::end(kSimpleFoldings), c,
                       [](const SimpleFolding& row, char32_t key) { return row.character < key; });
  return found != std::end(kSimpleFoldings) && found->character == c ? found->folded : c;
}

}  // namespace

std::optional<CharSet> named_property(std::string_view name) {
  name = short_name(name);
  if (auto set = computed(name)) return set;
  return tabulated(name);
}

std::u32string fold_case(char32_t c) {
  for (const LongFolding& row : kLongFoldings)
    if (row.character == c) return std::u32string(row.folded, row.size());
  return std::u32string(1, simple_folding(c));
}

void add_case_variants(CharSet& set) {
  std::vector<CharRange> added;
  const auto add_group = [&](char32_t folded) {
    added.push_back({folded, folded});
    const auto [first, last] = variants_by_folding().equal_range(folded);
    for (auto row = first; row != last; ++row) added.push_back({row->second, row->second});
  };
  for (const auto& [character, folded] : kSimpleFoldings)
    if (set.contains(character) || set.contains(folded)) add_group(folded);
  set.add(CharSet(std::move(added)));
}

std::span<const LongFolding> long_foldings() { return kLongFoldings; }

uint8_t splitting_script(char32_t c) {
  constexpr char32_t kMask = (1 << kScriptBlockBits) - 1;
  const size_t block = kScriptIndex[c >> kScriptBlockBits];
  return kScriptBlocks[block << kScriptBlockBits | (c & kMask)];
}

}  // namespace headrace
