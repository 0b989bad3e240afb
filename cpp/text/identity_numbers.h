// The rules of numbers that carry their own check. Characters are ASCII, digits and capital letters, without
// separators.
#pragma once

#include <string_view>

namespace headrace {

// ISO/IEC 7812-1, annex B. Digits only.
bool is_luhn(std::string_view digits);

// Luhn, and a prefix and length that an issuer of payment cards has: Visa, Mastercard, American Express,
// Diners, Discover, JCB, UnionPay, Maestro, Mir, and the older Chinese 9558 and 955.
bool is_card(std::string_view digits);

// ISO 13616: country, its length, ISO 7064 MOD 97-10 over the rotated number.
bool is_iban(std::string_view characters);

// The characters an IBAN of that country has; 0 for a country without one.
int iban_length(char first, char second);

// GB 11643-1999: region of a province, a date from 1900 to 2049, ISO 7064 MOD 11-2.
bool is_cn_resident_id(std::string_view characters);

// The 15 digits of before 1999: region, yymmdd, three digits. No check digit.
bool is_cn_resident_id_15(std::string_view digits);

// GB 32100-2015: 18 of 31 characters (no I, O, S, V, Z), a region, weights 3^i mod 31.
bool is_cn_uscc(std::string_view characters);

// One or two letters, six digits, a check digit or 'A': weights 9 to 1, mod 11.
bool is_hk_id(std::string_view characters);

// A letter, 1, 2, 8, 9 or A to D, eight digits: mod 10.
bool is_tw_id(std::string_view characters);

}  // namespace headrace
