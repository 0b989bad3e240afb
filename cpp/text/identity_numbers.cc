#include "text/identity_numbers.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "text/folded_text.h"

namespace headrace {
namespace {

bool all_digits(std::string_view text) { return std::all_of(text.begin(), text.end(), is_ascii_digit); }

int number(std::string_view digits) {
  int value = 0;
  for (const char c : digits) value = value * 10 + (c - '0');
  return value;
}

// GB/T 2260: the first two digits of a region are a province's.
bool is_province(std::string_view digits) {
  const int code = number(digits.substr(0, 2));
  return (code >= 11 && code <= 15) || (code >= 21 && code <= 23) || (code >= 31 && code <= 37) ||
         (code >= 41 && code <= 46) || (code >= 50 && code <= 54) || (code >= 61 && code <= 65) ||
         code == 71 || (code >= 81 && code <= 83);
}

bool is_date(int year, int month, int day) {
  constexpr std::array<int, 12> kDays{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (month < 1 || month > 12 || day < 1 || day > kDays[static_cast<size_t>(month - 1)]) return false;
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return month != 2 || day <= 28 || leap;
}

struct IbanCountry {
  char code[3];
  uint8_t length;
};
// The IBAN registry of SWIFT, release 99.
constexpr IbanCountry kIbanCountries[] = {
    {"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22},
    {"BH", 22}, {"BI", 27}, {"BR", 29}, {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24},
    {"DE", 22}, {"DJ", 27}, {"DK", 18}, {"DO", 28}, {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18},
    {"FK", 18}, {"FO", 18}, {"FR", 27}, {"GB", 22}, {"GE", 22}, {"GI", 23}, {"GL", 18}, {"GR", 27},
    {"GT", 28}, {"HR", 21}, {"HU", 28}, {"IE", 22}, {"IL", 23}, {"IQ", 23}, {"IS", 26}, {"IT", 27},
    {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28}, {"LC", 32}, {"LI", 21}, {"LT", 20}, {"LU", 20},
    {"LV", 21}, {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22}, {"MK", 19}, {"MN", 20}, {"MR", 27},
    {"MT", 31}, {"MU", 30}, {"NI", 28}, {"NL", 18}, {"NO", 15}, {"OM", 23}, {"PK", 24}, {"PL", 28},
    {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24}, {"RS", 22}, {"RU", 33}, {"SA", 24}, {"SC", 31},
    {"SD", 18}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"SO", 23}, {"ST", 25}, {"SV", 28},
    {"TL", 23}, {"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22}, {"VG", 24}, {"XK", 20}, {"YE", 30}};

// The prefixes of issuers as ranges of their first four digits, with the lengths they give out.
struct CardRange {
  uint16_t first, last;
  uint8_t shortest, longest;
};
constexpr CardRange kCardRanges[] = {
    {2200, 2204, 16, 19},  // Mir
    {2221, 2720, 16, 16},  // Mastercard
    {3000, 3059, 14, 14}, {3095, 3095, 14, 14}, {3600, 3699, 14, 14},
    {3800, 3999, 14, 14},                                              // Diners
    {3400, 3499, 15, 15}, {3700, 3799, 15, 15},                        // American Express
    {3528, 3589, 16, 16},                                              // JCB
    {4000, 4999, 13, 13}, {4000, 4999, 16, 16}, {4000, 4999, 19, 19},  // Visa
    {5100, 5599, 16, 16},                                              // Mastercard
    {5018, 5018, 16, 19}, {5020, 5020, 16, 19}, {5038, 5038, 16, 19},
    {5893, 5893, 16, 19},                        // Maestro
    {6304, 6304, 16, 19}, {6759, 6763, 16, 19},  // Maestro
    {6011, 6011, 16, 16}, {6440, 6599, 16, 16},  // Discover
    {6000, 6099, 16, 16}, {6200, 6299, 16, 19}, {6800, 6999, 16, 16},
    {8100, 8171, 16, 19},  // UnionPay, RuPay
    {9111, 9111, 19, 19}, {9400, 9409, 16, 19}, {9550, 9559, 16, 19},
    {9843, 9843, 16, 16},  // older Chinese
};

// MOD 11-2 and its kin: a weighted sum.
template <size_t kSize>
int weighted(std::string_view digits, const std::array<int, kSize>& weights) {
  int sum = 0;
  for (size_t i = 0; i < kSize; ++i) sum += (digits[i] - '0') * weights[i];
  return sum;
}

}  // namespace

bool is_luhn(std::string_view digits) {
  int sum = 0;
  bool doubled = false;
  for (size_t i = digits.size(); i-- > 0; doubled = !doubled) {
    const int value = digits[i] - '0';
    sum += doubled ? (value < 5 ? 2 * value : 2 * value - 9) : value;
  }
  return sum % 10 == 0;
}

bool is_card(std::string_view digits) {
  if (digits.size() < 13 || digits.size() > 19 || !all_digits(digits)) return false;
  const int prefix = number(digits.substr(0, 4));
  const auto issues = [&](const CardRange& range) {
    return prefix >= range.first && prefix <= range.last && digits.size() >= range.shortest &&
           digits.size() <= range.longest;
  };
  return std::any_of(std::begin(kCardRanges), std::end(kCardRanges), issues) && is_luhn(digits);
}

int iban_length(char first, char second) {
  for (const IbanCountry& country : kIbanCountries)
    if (country.code[0] == first && country.code[1] == second) return country.length;
  return 0;
}

bool is_iban(std::string_view characters) {
  if (characters.size() < 15 || !all_digits(characters.substr(2, 2))) return false;
  if (static_cast<size_t>(iban_length(characters[0], characters[1])) != characters.size()) return false;
  int rest = 0;
  for (size_t i = 0; i < characters.size(); ++i) {
    const char c = characters[(i + 4) % characters.size()];
    rest = is_ascii_digit(c) ? (rest * 10 + (c - '0')) % 97 : (rest * 100 + (c - 'A' + 10)) % 97;
  }
  return rest == 1;
}

bool is_cn_resident_id(std::string_view characters) {
  constexpr std::array<int, 17> kWeights{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2};
  if (characters.size() != 18 || !all_digits(characters.substr(0, 17)) || !is_province(characters))
    return false;
  const int year = number(characters.substr(6, 4));
  if (year < 1900 || year > 2049) return false;
  if (!is_date(year, number(characters.substr(10, 2)), number(characters.substr(12, 2)))) return false;
  return characters[17] == "10X98765432"[weighted(characters, kWeights) % 11];
}

bool is_cn_resident_id_15(std::string_view digits) {
  return digits.size() == 15 && all_digits(digits) && is_province(digits) &&
         is_date(1900 + number(digits.substr(6, 2)), number(digits.substr(8, 2)),
                 number(digits.substr(10, 2)));
}

bool is_cn_uscc(std::string_view characters) {
  constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY";
  constexpr std::array<int, 17> kWeights{1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28};
  // The bodies that register organisations; 1 to 9 of them in use, and A, G, N, Y.
  constexpr std::string_view kBodies = "123456789AGNY";
  if (characters.size() != 18 || kBodies.find(characters[0]) == kBodies.npos) return false;
  if (!all_digits(characters.substr(2, 6)) || !is_province(characters.substr(2, 2))) {
    // 100000 is registered with the state itself.
    if (characters.substr(2, 6) != "100000") return false;
  }
  int sum = 0;
  for (size_t i = 0; i < 18; ++i) {
    const size_t value = kAlphabet.find(characters[i]);
    if (value == kAlphabet.npos) return false;
    sum += static_cast<int>(value) * (i < 17 ? kWeights[i] : 1);
  }
  return sum % 31 == 0;
}

bool is_hk_id(std::string_view characters) {
  const size_t num_letters = characters.size() == 9 ? 2 : 1;
  if (characters.size() != 8 && characters.size() != 9) return false;
  // A missing first letter counts as a space, which stands for 36.
  int sum = num_letters == 2 ? 0 : 36 * 9;
  for (size_t i = 0; i + 1 < characters.size(); ++i) {
    const char c = characters[i];
    if (i < num_letters ? !is_ascii_upper(c) : !is_ascii_digit(c)) return false;
    const int value = i < num_letters ? c - 'A' + 10 : c - '0';
    sum += value * static_cast<int>(characters.size() - i);
  }
  const char check = characters.back();
  if (!is_ascii_digit(check) && check != 'A') return false;
  return (sum + (check == 'A' ? 10 : check - '0')) % 11 == 0;
}

bool is_tw_id(std::string_view characters) {
  // The letters in the order of the values 10 to 35 that the regions were given.
  constexpr std::string_view kLetters = "ABCDEFGHJKLMNPQRSTUVXYWZIO";
  constexpr std::array<int, 8> kWeights{7, 6, 5, 4, 3, 2, 1, 1};
  if (characters.size() != 10 || !is_ascii_upper(characters[0]) || !all_digits(characters.substr(2)))
    return false;
  const int region = static_cast<int>(kLetters.find(characters[0])) + 10;
  int second;
  if (characters[1] >= 'A' && characters[1] <= 'D') {
    second = (characters[1] - 'A' + 10) % 10;  // resident certificates of before 2021
  } else if (characters[1] == '1' || characters[1] == '2' || characters[1] == '8' || characters[1] == '9') {
    second = characters[1] - '0';
  } else {
    return false;
  }
  const int sum = region / 10 + region % 10 * 9 + second * 8 + weighted(characters.substr(2), kWeights);
  return sum % 10 == 0;
}

}  // namespace headrace
