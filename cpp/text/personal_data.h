// Personal data in text: numbers, addresses and the like that identify a person, found by their own rules
// (checksums, lengths, allowed codes) and not by a model.
//
// One pass from left to right without backtracking. Text without a digit and without '@' is skipped at the
// speed of memory; at each of those a window of at most kReach bytes is looked at, so the time is linear.
// Full-width forms are read as ASCII. Ill-formed UTF-8 is data like any other: no finding goes across it.
//
// Thread-safe: no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace headrace {

enum class PersonalKind : uint8_t {
  kEmail,
  kPhone,          // international with + or 00; national forms of several countries
  kCard,           // ISO/IEC 7812: 13 to 19 digits, issuer prefix, Luhn
  kIban,           // ISO 13616: length by country, mod 97
  kIp,             // IPv4, IPv6 (RFC 4291)
  kCnResidentId,   // GB 11643-1999: 18 characters, MOD 11-2; the older 15 digits
  kCnMobile,       // 1[3-9] and 9 digits, with or without +86
  kCnUscc,         // GB 32100-2015: unified social credit code, 18 characters, mod 31
  kPassport,       // Chinese by form; others behind a word that says so
  kHkId,           // Hong Kong, mod 11
  kMacauId,        // by form: 1234567(8)
  kTwId,           // Taiwan, national and resident, mod 10
  kHkMacauPermit,  // travel permits between the mainland, Hong Kong and Macau
  kCnPlate,        // GA 36: province, letter, 5 or 6 characters
  kCnAddress,      // Chinese street address that has a number
  kPlaceholder,    // "<EMAIL_1>" as reversible masking writes it; never among the kinds asked for by default
};
inline constexpr size_t kNumPersonalKinds = 16;

// "email", "cn_resident_id", ...
std::string_view personal_kind_name(PersonalKind kind);

using PersonalKinds = uint32_t;  // a bit for each kind
constexpr PersonalKinds bit_of(PersonalKind kind) { return PersonalKinds{1} << static_cast<unsigned>(kind); }
inline constexpr PersonalKinds kAllPersonalKinds = bit_of(PersonalKind::kPlaceholder) - 1;

struct Finding {
  PersonalKind kind;
  size_t begin;  // bytes of the text
  size_t end;
  friend bool operator==(const Finding&, const Finding&) = default;
};

// What is decided at one place depends on no byte further away than this, and no finding is longer.
inline constexpr size_t kReachBehind = 256;
inline constexpr size_t kReachAhead = 1024;

// Sorted, without overlaps.
std::vector<Finding> find_personal_data(std::string_view text, PersonalKinds kinds = kAllPersonalKinds);

// Where a search stands: nothing before `at` begins a decision any more, and no finding begins before
// `floor`.
struct SearchPlace {
  size_t at = 0;
  size_t floor = 0;
};

// Goes on from `place` with what is decided at text[at] for place.at <= at < until, and appends to `out`.
// With until < text.size(), the result is that of any longer text if until + kReachAhead <= text.size(), or
// if until is a place that no finding goes across (text_break).
void find_personal_data(std::string_view text, PersonalKinds kinds, size_t until, SearchPlace& place,
                        std::vector<Finding>& out);

// The last place in (from, text.size()] behind a character that no finding holds and whose neighbours none
// depends on, such as a newline, a comma, or the space behind a longer word of letters alone; npos if there
// is none.
size_t text_break(std::string_view text, size_t from);

}  // namespace headrace
