#include "text/dialled_number.h"

#include "text/folded_text.h"
#include "text/number_line.h"

namespace headrace {
namespace {

// Reads up to two signs between digits, such as ") ". Returns the next digit's place, or npos.
size_t next_digit(std::string_view text, size_t place, char& gap, bool& opens) {
  gap = 0;
  opens = false;
  for (int signs = 0; signs < 3 && place < text.size(); ++signs) {
    const Glyph glyph = glyph_at(text, place);
    if (is_ascii_digit(glyph.c)) return place;
    const bool bracket = glyph.c == '(' || glyph.c == ')';
    if (!bracket && !is_number_separator(glyph.c) && glyph.c != '/') return text.npos;
    if (glyph.c == '(') opens = true;
    // "12. 34" and "1 - 2" are other things than numbers with separators
    if (!bracket && gap != 0 && gap != ')' && gap != '(') return text.npos;
    if (bracket || gap == 0) gap = gap == ')' ? ')' : glyph.c;
    place += glyph.size;
  }
  return text.npos;
}

}  // namespace

Dialled::Dialled(std::string_view text, size_t at) : begin(at), bare(at) {
  for (int signs = 0; signs < 2 && begin > 0; ++signs) {
    const Glyph before = glyph_before(text, begin);
    if (before.c == '+' && !plus) {
      plus = true;
    } else if (before.c == '(' && open < 0) {
      open = 0;
    } else {
      break;
    }
    begin -= before.size;
    if (before.c == '+') bare = begin;
  }
  if (begin > 0) {
    const Glyph before = glyph_before(text, begin);
    behind_digits = before.c == ' ' && is_ascii_digit(folded_before(text, begin - before.size));
  }
  size_t place = at;
  char sign = 0;  // in front of the next digit
  while (size < kCapacity) {
    const Glyph glyph = glyph_at(text, place);
    digits[size] = glyph.c;
    gap[size] = size == 0 ? '\0' : sign;
    place += glyph.size;
    ends[size++] = place;
    bool opens = false;
    size_t next = next_digit(text, place, sign, opens);
    // "+44 (0)20": the 0 is dialled within the country only
    if (next != text.npos && opens && plus && glyph_at(text, next).c == '0' &&
        folded_at(text, next + glyph_at(text, next).size) == ')') {
      bool again = false;
      const size_t behind = next_digit(text, next + glyph_at(text, next).size, sign, again);
      if (behind != text.npos && !again) next = behind;
    }
    if (next == text.npos || size == kCapacity) {
      goes_on = next != text.npos || !is_number_end(text, place);
      break;
    }
    if (opens && open < 0) open = static_cast<int>(size);
    place = next;
  }
}

bool Dialled::ends_at(size_t count) const {
  if (count == size) return !goes_on;
  return gap[count] != 0 && gap[count] != '-' && gap[count] != '.';
}

size_t Dialled::groups(size_t from, size_t count, std::array<uint8_t, kCapacity>& sizes) const {
  size_t num_groups = 0;
  for (size_t i = from; i < count; ++i) {
    if (i == from || gap[i] != 0) sizes[num_groups++] = 0;
    ++sizes[num_groups - 1];
  }
  return num_groups;
}

bool Dialled::even(size_t from, size_t count) const {
  char separator = 0;
  for (size_t i = from + 1; i < count; ++i) {
    if (gap[i] == 0 || gap[i] == ')' || gap[i] == '(') continue;
    if (separator != 0 && gap[i] != separator) return false;
    separator = gap[i];
  }
  return true;
}

}  // namespace headrace
