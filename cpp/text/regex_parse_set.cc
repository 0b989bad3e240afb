// What matches one character: brackets, escapes, properties.
#include "base/error.h"
#include "base/utf8.h"
#include "text/regex_parser.h"
#include "text/unicode_properties.h"

namespace headrace {
namespace {

int digit_value(char32_t c) {
  if (c >= '0' && c <= '9') return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return static_cast<int>(c - 'A') + 10;
  return 16;
}

}  // namespace

// Outside of brackets the reference counts superscripts and fractions, too, as word characters.
void RegexParser::add_latin_numbers(CharSet* word) {
  word->add(CharSet({{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}}));
}

// Behind "[". The set as it is written, without the negation.
CharSet RegexParser::bracket(bool* negated) {
  if (++depth_ > kMaxDepth) unsupported("brackets nested more than 100 deep");
  *negated = take("^");
  CharSet set = bracket_items();
  while (take("&&")) set = set.intersection(bracket_items());
  if (!take("]")) malformed("a bracket that is not closed");
  --depth_;
  return set;
}

// Up to "]" or "&&". A "]" that comes first is ordinary, if another one follows.
CharSet RegexParser::bracket_items() {
  std::vector<CharRange> ranges;
  const auto add_set = [&](const CharSet& set) {
    ranges.insert(ranges.end(), set.ranges().begin(), set.ranges().end());
    if (ranges.size() > 4096)
      ranges = std::vector<CharRange>([&] {
        const CharSet merged(std::move(ranges));
        return std::vector<CharRange>(merged.ranges().begin(), merged.ranges().end());
      }());
  };
  const char32_t before = static_cast<uint8_t>(pattern_[at_ - 1]);
  bool is_first = before == '[' || before == '^';
  while (true) {
    if (done()) malformed("a bracket that is not closed");
    const std::string_view left = pattern_.substr(at_);
    if (left.starts_with("&&")) break;
    if (left.starts_with("]")) {
      if (!is_first) break;
      if (left.find(']', 1) == std::string_view::npos) malformed("an empty bracket");
    }
    is_first = false;
    CharSet set;
    if (posix_class(&set)) {
      add_set(set);
      continue;
    }
    if (take("[")) {
      bool negated = false;
      set = bracket(&negated);
      add_set(negated ? set.complement() : set);
      continue;
    }
    const Atom low = bracket_atom();
    const std::string_view rest = pattern_.substr(at_);
    const bool is_range = rest.starts_with("-") && !rest.starts_with("-]") && !rest.starts_with("-&&");
    if (!low.is_literal) {
      if (is_range) malformed("a range that begins with a class of characters");
      add_set(low.set);
      continue;
    }
    if (!is_range) {
      ranges.push_back({low.literal, low.literal});
      continue;
    }
    ++at_;
    if (peek() == '[') unsupported("a range that ends with a bracket");
    const Atom high = bracket_atom();
    if (!high.is_literal) malformed("a range that ends with a class of characters");
    if (high.literal < low.literal) malformed("a range whose end is before its beginning");
    ranges.push_back({low.literal, high.literal});
    // What follows a range is not the beginning of another.
    if (take("-")) ranges.push_back({'-', '-'});
  }
  return CharSet(std::move(ranges));
}

RegexParser::Atom RegexParser::bracket_atom() {
  if (done()) malformed("a bracket that is not closed");
  if (take("\\")) {
    if (done()) malformed("a backslash at the end");
    if (peek() == 'b') {
      ++at_;
      return {true, 0x08, {}};
    }
    return character_escape(true);
  }
  return {true, next_character(), {}};
}

// "[:alpha:]", "[:^alpha:]".
bool RegexParser::posix_class(CharSet* set) {
  static constexpr std::string_view kNames[] = {"alnum", "alpha", "ascii",  "blank", "cntrl",
                                                "digit", "graph", "lower",  "print", "punct",
                                                "space", "upper", "xdigit", "word"};
  const size_t start = at_;
  if (!take("[:")) return false;
  const bool negated = take("^");
  for (std::string_view name : kNames) {
    const size_t behind_caret = at_;
    if (take(name) && take(":]")) {
      *set = *named_property(name);
      if (name == "punct") set->add(*named_property("s"));
      if (negated) *set = set->complement();
      return true;
    }
    at_ = behind_caret;
  }
  if (pattern_.substr(at_, 24).find(":]") != std::string_view::npos)
    malformed("an unknown class between [: and :]");
  at_ = start;
  return false;
}

// Behind the backslash, which something follows. Letters without a meaning stand for themselves.
RegexParser::Atom RegexParser::character_escape(bool in_bracket) {
  const char32_t c = next_character();
  switch (c) {
    case 't':
      return {true, '\t', {}};
    case 'v':
      return {true, '\v', {}};
    case 'n':
      return {true, '\n', {}};
    case 'r':
      return {true, '\r', {}};
    case 'f':
      return {true, '\f', {}};
    case 'a':
      return {true, 0x07, {}};
    case 'e':
      return {true, 0x1B, {}};
    case 'c':
    case 'C':
    case 'M':
      unsupported("an escaped control character; write it as \\x and its number");
    case 'x':
    case 'u':
      --at_;
      return {true, hex_escape(), {}};
    case 'o':
      if (!take("{")) return {true, c, {}};
      return {true, octal_escape(0, 11), {}};
    case 'p':
    case 'P':
      if (!take("{")) return {true, c, {}};
      return {false, 0, property(c == 'P', in_bracket)};
    default:
      break;
  }
  if (c >= '0' && c <= '7') return {true, octal_escape(static_cast<int>(c - '0'), 2), {}};
  CharSet set;
  if (type_escape(c, in_bracket, &set)) return {false, 0, std::move(set)};
  return {true, c, {}};
}

bool RegexParser::type_escape(char32_t letter, bool in_bracket, CharSet* set) {
  switch (letter | 0x20) {
    case 's':
      *set = *named_property("whitespace");
      break;
    case 'd':
      *set = *named_property("nd");
      break;
    case 'w':
      *set = *named_property("word");
      if (!in_bracket) add_latin_numbers(set);
      break;
    case 'h':
      *set = *named_property("xdigit");
      break;
    default:
      return false;
  }
  if ((letter & 0x20) == 0) *set = set->complement();
  return true;
}

// Behind "\p{". Accepts "Script=Han", which the reference does not know, for patterns of other engines.
CharSet RegexParser::property(bool negated, bool in_bracket) {
  if (take("^")) negated = !negated;
  const size_t end = pattern_.find('}', at_);
  if (end == std::string_view::npos) malformed("a property without its closing brace");
  std::string name;
  for (char c : pattern_.substr(at_, end - at_)) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    if (c != ' ' && c != '-' && c != '_') name.push_back(c);
  }
  for (std::string_view prefix : {"script=", "sc=", "generalcategory=", "gc="})
    if (name.starts_with(prefix)) name.erase(0, prefix.size());
  auto set = named_property(name);
  if (!set) unsupported(concat("the property '", pattern_.substr(at_, end - at_), "'"));
  if (name == "word" && !in_bracket) add_latin_numbers(&*set);
  at_ = end + 1;
  return negated ? set->complement() : *set;
}

// "x41", "x{1F600}", "u00E9".
char32_t RegexParser::hex_escape() {
  const bool is_long = next_character() == 'x' && take("{");
  const bool is_unicode = pattern_[at_ - 1] == 'u';
  const int most = is_long ? 8 : is_unicode ? 4 : 2;
  uint64_t value = 0;
  int digits = 0;
  for (; digits < most && digit_value(peek()) < 16 && !done(); ++digits)
    value = value * 16 + static_cast<uint64_t>(digit_value(next_character()));
  if (digits == 0 || (is_unicode && digits < 4)) malformed("a hexadecimal escape with too few digits");
  if (is_long && !take("}")) {
    if (peek() == ' ') unsupported("an escape with several characters");
    malformed("a hexadecimal escape that is not closed");
  }
  if (!is_long && !is_unicode && value > 0x7F) unsupported("an escaped byte above \\x7F; write \\x{...}");
  return code_point(value);
}

// more_digits 11: behind "\o{".
char32_t RegexParser::octal_escape(int first, int more_digits) {
  uint64_t value = static_cast<uint64_t>(first);
  const size_t start = at_;
  for (; more_digits > 0 && peek() >= '0' && peek() <= '7'; --more_digits)
    value = value * 8 + (next_character() - '0');
  const bool in_braces = start >= 2 && pattern_.substr(start - 2, 2) == "o{";
  if (in_braces && !take("}")) malformed("an octal escape that is not closed");
  if (!in_braces && value > 0x7F) unsupported("an escaped byte above \\177; write \\x{...}");
  return code_point(value);
}

char32_t RegexParser::code_point(uint64_t value) const {
  if (value > CharSet::kLast || (value >= 0xD800 && value < 0xE000))
    malformed("an escape that is no Unicode character");
  return static_cast<char32_t>(value);
}

}  // namespace headrace
