#include "text/phone_numbers.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "text/context_cues.h"
#include "text/dialled_number.h"
#include "text/folded_text.h"
#include "text/number_line.h"

namespace headrace {
namespace {

struct Country {
  uint16_t code;
  uint8_t shortest, longest;  // of the national number
};
constexpr Country kCountries[] = {
    {1, 10, 10},  {7, 10, 10}, {20, 8, 10},  {27, 9, 9},   {30, 10, 10}, {31, 9, 9},   {32, 8, 9},
    {33, 9, 9},   {34, 9, 9},  {36, 8, 9},   {39, 6, 11},  {40, 9, 9},   {41, 9, 9},   {43, 6, 12},
    {44, 9, 10},  {45, 8, 8},  {46, 7, 10},  {47, 8, 8},   {48, 9, 9},   {49, 7, 12},  {51, 8, 9},
    {52, 10, 10}, {53, 6, 8},  {54, 10, 11}, {55, 10, 11}, {56, 9, 9},   {57, 8, 10},  {58, 10, 10},
    {60, 8, 10},  {61, 9, 9},  {62, 8, 12},  {63, 8, 10},  {64, 8, 10},  {65, 8, 8},   {66, 8, 9},
    {81, 9, 10},  {82, 8, 10}, {84, 9, 10},  {86, 9, 12},  {90, 10, 10}, {91, 10, 10}, {92, 9, 10},
    {93, 9, 9},   {94, 9, 9},  {95, 7, 10},  {98, 10, 10}, {352, 5, 11}, {353, 7, 9},  {358, 5, 12},
    {852, 8, 8},  {853, 8, 8}, {886, 8, 9},  {971, 8, 9},  {972, 8, 9},
};

// The country of an international number and the digits of its code; shortest = 0 when there is none.
Country country_of(std::string_view digits, size_t& code_size) {
  int code = 0;
  for (code_size = 1; code_size <= 3 && code_size <= digits.size(); ++code_size) {
    code = code * 10 + (digits[code_size - 1] - '0');
    for (const Country& country : kCountries)
      if (country.code == code) return country;
  }
  code_size = 3;
  // The zones where codes have three digits: others of them than those above are 7 to 12 digits long.
  const bool three = digits.size() > 3 && (digits[0] == '2' || (digits[0] == '3' && digits[1] >= '5') ||
                                           (digits[0] == '4' && digits[1] == '2') ||
                                           (digits[0] == '5' && (digits[1] == '0' || digits[1] == '9')) ||
                                           (digits[0] == '6' && digits[1] >= '7') ||
                                           (digits[0] == '8' && (digits[1] == '5' || digits[1] >= '8')) ||
                                           (digits[0] == '9' && (digits[1] >= '6')));
  return three ? Country{0, 7, 12} : Country{0, 0, 0};
}

bool is_cn_mobile(std::string_view digits) {
  return digits.size() == 11 && digits[0] == '1' && digits[1] >= '3';
}

// Groups that people write the 11 digits of a mobile number in.
bool is_mobile_form(const Dialled& number, size_t from, size_t count) {
  std::array<uint8_t, Dialled::kCapacity> sizes;
  const size_t num_groups = number.groups(from, count, sizes);
  if (!number.even(from, count)) return false;
  // Single digits must not be cut out of a longer line of them.
  if (num_groups == 11 && count < number.size && (count + 1 == number.size || number.gap[count + 1] != 0))
    return false;
  const auto is = [&](std::initializer_list<uint8_t> wanted) {
    return wanted.size() == num_groups && std::equal(wanted.begin(), wanted.end(), sizes.begin());
  };
  return num_groups == 1 || num_groups == 11 || is({3, 4, 4}) || is({3, 8}) || is({3, 3, 5}) ||
         is({4, 3, 4}) || is({5, 6}) || is({3, 5, 3}) || is({4, 4, 3}) || is({3, 2, 2, 2, 2}) || is({7, 4});
}

// Whether digits with spaces may be part of a longer row of them: nothing says then where a number begins.
bool is_in_row(const Dialled& number, size_t count) {
  const auto gaps = number.gap.begin();
  const bool spaced =
      std::find(gaps, gaps + static_cast<ptrdiff_t>(count), ' ') != gaps + static_cast<ptrdiff_t>(count);
  return spaced && (number.behind_digits || (count < number.size && number.gap[count] == ' '));
}

PhoneFinding found(const Dialled& number, size_t count, bool mobile = false) {
  // A bracket around all of the number, or one that closes behind it, is not part of it.
  const auto gaps = number.gap.begin();
  const auto last = gaps + static_cast<ptrdiff_t>(count);
  const bool closes = std::count(gaps, last, ')') > std::count(gaps, last, '(');
  return {number.open == 0 && !closes ? number.bare : number.begin, number.ends[count - 1], mobile};
}

// Behind '+' or "00". prefix: 0, or the two zeros.
std::optional<PhoneFinding> international(const Dialled& number, size_t prefix) {
  size_t code_size = 0;
  const std::string_view digits = number.view().substr(prefix);
  const Country country = country_of(digits, code_size);
  if (country.shortest == 0) return std::nullopt;
  // "00442012-3456" is a row of numbers: the country's code stands apart, or the next digits with it.
  std::array<uint8_t, Dialled::kCapacity> sizes;
  if (prefix > 0 && number.groups(0, number.size, sizes) > 1 && sizes[0] > prefix + code_size)
    return std::nullopt;
  const size_t from = prefix + code_size;
  if (country.code == 86) {
    const size_t count = from + 11;
    if (count <= number.size && number.ends_at(count) && is_cn_mobile(number.view().substr(from, 11)))
      return found(number, count, true);
  }
  for (size_t length = country.longest; length >= country.shortest; --length) {
    const size_t count = from + length;
    if (count <= number.size && number.ends_at(count)) return found(number, count);
  }
  return std::nullopt;
}

// 1[3-9] and nine digits, with 86 or 0086 in front of them or nothing.
std::optional<PhoneFinding> cn_mobile(const Dialled& number) {
  const std::string_view digits = number.view();
  const size_t from = digits.starts_with("0086") ? 4 : digits.starts_with("86") ? 2 : 0;
  const size_t count = from + 11;
  if (count > number.size || !number.ends_at(count) || !is_cn_mobile(digits.substr(from, 11)) ||
      !is_mobile_form(number, from, count))
    return std::nullopt;
  return found(number, count, true);
}

// North America: area and exchange begin with 2 to 9; with separators, else anything has ten digits.
std::optional<PhoneFinding> north_american(const Dialled& number) {
  const size_t from = number.digits[0] == '1' ? 1 : 0;
  const size_t count = from + 10;
  if (count > number.size || !number.ends_at(count)) return std::nullopt;
  std::array<uint8_t, Dialled::kCapacity> sizes;
  const size_t num_groups = number.groups(from, count, sizes);
  const bool bracketed = number.open == static_cast<int>(from) && number.gap[from + 3] == ')';
  const bool form = num_groups == 3 && sizes[0] == 3 && sizes[1] == 3;
  const bool short_form = bracketed && num_groups == 2 && sizes[0] == 3;
  if (from == 1 && number.gap[1] == 0) return std::nullopt;
  if (!(form && (bracketed || number.even(from, count))) && !short_form) return std::nullopt;
  if (number.digits[from] < '2' || number.digits[from + 3] < '2') return std::nullopt;
  if (!bracketed && is_in_row(number, count)) return std::nullopt;
  return found(number, count);
}

// An area in brackets of two to four digits: (11) 98765-4321.
std::optional<PhoneFinding> with_bracketed_area(const Dialled& number) {
  if (number.open != 0) return std::nullopt;
  for (size_t count = std::min<size_t>(12, number.size); count >= 9; --count) {
    std::array<uint8_t, Dialled::kCapacity> sizes;
    if (!number.ends_at(count)) continue;
    const size_t num_groups = number.groups(0, count, sizes);
    if (num_groups < 2 || num_groups > 3 || sizes[0] < 2 || sizes[0] > 4 || number.gap[sizes[0]] != ')')
      continue;
    // "(2019) 12345678" is a year and something else.
    if (sizes[0] == 4 && number.digits[0] != '0') continue;
    if (sizes[num_groups - 1] >= 4) return found(number, count);
  }
  return std::nullopt;
}

// A trunk prefix 0: 010-12345678, (0571) 8765 4321, 020 7946 0958, 01 23 45 67 89.
std::optional<PhoneFinding> with_trunk_zero(const Dialled& number, bool cued) {
  if (number.digits[0] != '0' || number.size < 9 || number.digits[1] == '0') return std::nullopt;
  for (size_t count = std::min<size_t>(12, number.size); count >= 9; --count) {
    if (!number.ends_at(count)) continue;
    std::array<uint8_t, Dialled::kCapacity> sizes;
    const size_t num_groups = number.groups(0, count, sizes);
    const uint8_t smallest = *std::min_element(sizes.begin(), sizes.begin() + num_groups);
    if (num_groups == 1) {
      // Unbroken: the large cities of China, whose numbers begin with 2 to 8; others want a word in front.
      const bool city =
          count == 11 && (number.digits[1] == '1' ? number.digits[2] == '0' : number.digits[1] == '2');
      if (count >= 10 && (cued || (city && number.digits[3] >= '2' && number.digits[3] <= '8')))
        return found(number, count);
      continue;
    }
    if (num_groups > 5 || smallest < 2) continue;
    // The postal codes of the United States, "02111-1307".
    if (num_groups == 2 && sizes[0] == 5 && sizes[1] == 4) continue;
    const bool date = sizes[0] == 2 && sizes[1] == 2 && (num_groups > 2 && sizes[2] == 4);
    const bool pairs = num_groups == 5 && count == 10 && smallest == 2;
    // "0571-87654321-801": an extension behind
    const bool three = sizes[0] >= 3 && sizes[0] <= 5 && smallest >= 3 && num_groups <= 4;
    const bool two =
        sizes[0] == 2 && num_groups >= 2 && num_groups <= 3 && sizes[1] >= 4 && smallest >= 2 && count >= 9;
    if (date || (!pairs && !three && !two && !(cued && sizes[0] <= 5))) continue;
    if (pairs && !number.even(0, count)) continue;
    if (number.open < 0 && !cued && is_in_row(number, count)) continue;
    return found(number, count);
  }
  // With an extension the whole is longer.
  for (size_t count = std::min<size_t>(17, number.size); count > 12; --count) {
    std::array<uint8_t, Dialled::kCapacity> sizes;
    if (!number.ends_at(count) || number.groups(0, count, sizes) != 3) continue;
    if (sizes[0] >= 3 && sizes[0] <= 4 && sizes[1] >= 7 && sizes[1] <= 8 && sizes[2] <= 5)
      return found(number, count);
  }
  return std::nullopt;
}

// Behind a word such as "tel": any 7 to 12 digits in few groups.
std::optional<PhoneFinding> cued_number(const Dialled& number) {
  for (size_t count = std::min<size_t>(14, number.size); count >= 7; --count) {
    std::array<uint8_t, Dialled::kCapacity> sizes;
    if (!number.ends_at(count)) continue;
    const size_t num_groups = number.groups(0, count, sizes);
    if (num_groups > 5 ||
        (num_groups > 1 && *std::min_element(sizes.begin(), sizes.begin() + num_groups) < 2))
      continue;
    // A date stands behind "call" too: 2024-05-06, 06.05.2024.
    if (count == 8 && num_groups == 3) continue;
    return found(number, count);
  }
  return std::nullopt;
}

}  // namespace

std::optional<PhoneFinding> phone_at(std::string_view text, size_t at) {
  const Dialled number(text, at);
  if (number.size < 7 || !is_number_begin(text, number.begin)) return std::nullopt;
  if (number.plus) return international(number, 0);
  // "13 8" of a longer line of single digits
  if (number.size > 1 && number.gap[1] != 0 && is_behind_single(text, at)) return std::nullopt;
  const Cue cue = cue_before(text, at);
  if (cue == Cue::kOther) return std::nullopt;
  if (auto mobile = cn_mobile(number)) return mobile;
  if (number.view().starts_with("00") && number.gap[1] == 0 && number.size >= 11)
    if (auto phone = international(number, 2)) return phone;
  if (auto phone = north_american(number)) return phone;
  if (auto phone = with_bracketed_area(number)) return phone;
  if (auto phone = with_trunk_zero(number, cue == Cue::kPhone)) return phone;
  if (cue == Cue::kPhone) return cued_number(number);
  return std::nullopt;
}

}  // namespace headrace
