#include "text/number_line.h"

namespace headrace {

bool is_behind_single(std::string_view text, size_t at) {
  if (at == 0) return false;
  const Glyph separator = glyph_before(text, at);
  if (!is_number_separator(separator.c) || at == separator.size) return false;
  const size_t previous = at - separator.size;
  const Glyph single = glyph_before(text, previous);
  return is_ascii_alnum(single.c) && !is_ascii_alnum(folded_before(text, previous - single.size));
}

NumberLine::NumberLine(std::string_view whole, size_t at)
    : text(whole), behind_single(is_behind_single(whole, at)) {
  // A group without digits that is longer than any of a number ends the line, so that prose is not collected.
  constexpr size_t kLongestWord = 4;
  size_t letters = 0;
  bool has_digit = false;
  char separator = 0;
  size_t place = at;
  while (place < text.size() && size < kCapacity) {
    const Glyph glyph = glyph_at(text, place);
    if (is_ascii_alnum(glyph.c)) {
      if (separator != 0) letters = 0, has_digit = false;
      has_digit = has_digit || is_ascii_digit(glyph.c);
      if (++letters > kLongestWord && !has_digit) break;
      upper[size] = ascii_upper(glyph.c);
      gap[size] = size == 0 ? '\0' : separator;
      ends[size] = static_cast<uint32_t>(place + glyph.size);
      ++size;
      separator = 0;
    } else if (is_number_separator(glyph.c) && separator == 0) {
      separator = glyph.c;
    } else {
      break;
    }
    place += glyph.size;
  }
}

bool NumberLine::stands_alone(size_t count) const {
  if (count == 0 || count > size) return false;
  char separator = 0;
  size_t num_gaps = 0;
  for (size_t i = 1; i < count; ++i) {
    if (gap[i] == 0) continue;
    if (separator != 0 && gap[i] != separator) return false;
    separator = gap[i];
    ++num_gaps;
  }
  const bool singly = count > 2 && num_gaps + 1 == count;
  if (singly && behind_single) return false;
  if (count == size) {
    // What ended the line may be a word's letters or a full line.
    return is_number_end(text, ends[count - 1]);
  }
  if (gap[count] == 0) return false;
  if (gap[count] != ' ' && is_ascii_digit(upper[count])) return false;
  // "1 2 3 4" must not be cut out of a longer line of single characters.
  if (!singly || gap[count] != separator) return true;
  return count + 1 < size && gap[count + 1] == 0;
}

size_t NumberLine::groups(size_t count, std::array<uint8_t, kCapacity>& sizes) const {
  size_t num_groups = 0;
  for (size_t i = 0; i < count; ++i) {
    if (i == 0 || gap[i] != 0) sizes[num_groups++] = 0;
    ++sizes[num_groups - 1];
  }
  return num_groups;
}

}  // namespace headrace
