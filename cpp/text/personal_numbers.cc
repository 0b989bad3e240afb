#include "text/personal_numbers.h"

#include <algorithm>

#include "text/context_cues.h"
#include "text/identity_numbers.h"
#include "text/number_line.h"
#include "text/phone_numbers.h"

namespace headrace {
namespace {

// What every rule looks at: a line of characters, and the words in front of it once they are asked for.
class Candidate {
 public:
  Candidate(std::string_view text, size_t begin, PersonalKinds kinds)
      : line(text, begin), begin_(begin), kinds_(kinds) {}

  const NumberLine line;

  Cue cue() {
    if (!cue_known_) cue_ = cue_before(line.text, begin_);
    cue_known_ = true;
    return cue_;
  }
  bool wants(PersonalKind kind) const { return (kinds_ & bit_of(kind)) != 0; }
  Finding found(PersonalKind kind, size_t count) const { return {kind, begin_, line.end_of(count)}; }
  bool is(size_t i, bool (*property)(char)) const { return i < line.size && property(line.upper[i]); }
  // How many capital letters it begins with; 0 if one of them is not written as one.
  size_t capitals() const {
    size_t count = 0;
    size_t place = begin_;
    while (is(count, is_ascii_upper)) {
      if (!is_ascii_upper(folded_at(line.text, place))) return 0;
      place = line.end_of(++count);
      if (count < line.size && line.gap[count] != 0) place += glyph_at(line.text, place).size;
    }
    return count;
  }
  bool digits(size_t from, size_t count) const {
    if (from + count > line.size) return false;
    const auto at = line.upper.begin() + static_cast<ptrdiff_t>(from);
    return std::all_of(at, at + static_cast<ptrdiff_t>(count), is_ascii_digit);
  }

 private:
  size_t begin_;
  PersonalKinds kinds_;
  Cue cue_ = Cue::kNone;
  bool cue_known_ = false;
};

// Groups that cards are printed and read out in; any other grouping is a row of other numbers.
bool is_card_form(const NumberLine& line, size_t count) {
  std::array<uint8_t, NumberLine::kCapacity> sizes;
  const size_t num_groups = line.groups(count, sizes);
  if (num_groups == 1 || num_groups == count) return true;
  const bool fours = std::all_of(sizes.begin(), sizes.begin() + static_cast<ptrdiff_t>(num_groups) - 1,
                                 [](uint8_t size) { return size == 4; });
  if (fours) return num_groups >= 4 || sizes[num_groups - 1] > 4;
  return sizes[0] == 4 && sizes[1] == 6 && num_groups <= 3 ? true : num_groups == 2 && sizes[0] == 6;
}

std::optional<Finding> card(const Candidate& candidate) {
  const NumberLine& line = candidate.line;
  for (size_t count = std::min<size_t>(19, line.size); count >= 13; --count)
    if (line.stands_alone(count) && is_card_form(line, count) && is_card(line.first(count)))
      return candidate.found(PersonalKind::kCard, count);
  return std::nullopt;
}

// 18 characters and more with checks of their own.
std::optional<Finding> with_check(Candidate& candidate) {
  const NumberLine& line = candidate.line;
  if (line.size >= 18 && line.stands_alone(18)) {
    if (candidate.wants(PersonalKind::kCnResidentId) && is_cn_resident_id(line.first(18)))
      return candidate.found(PersonalKind::kCnResidentId, 18);
    if (candidate.wants(PersonalKind::kCnUscc) && is_cn_uscc(line.first(18)))
      return candidate.found(PersonalKind::kCnUscc, 18);
  }
  if (candidate.wants(PersonalKind::kIban) && candidate.is(0, is_ascii_upper) &&
      candidate.is(1, is_ascii_upper)) {
    const auto length = static_cast<size_t>(iban_length(line.upper[0], line.upper[1]));
    if (length > 0 && line.size >= length && line.stands_alone(length) && is_iban(line.first(length)))
      return candidate.found(PersonalKind::kIban, length);
  }
  if (!candidate.wants(PersonalKind::kCard) || !candidate.is(0, is_ascii_digit)) return std::nullopt;
  auto found = card(candidate);
  // 15 digits may be either.
  if (found && candidate.cue() == Cue::kResidentId) found.reset();
  return found;
}

std::optional<Finding> old_resident_id(Candidate& candidate) {
  const NumberLine& line = candidate.line;
  if (!candidate.wants(PersonalKind::kCnResidentId) || line.size < 15 || !line.stands_alone(15) ||
      !is_cn_resident_id_15(line.first(15)) || candidate.cue() == Cue::kOther)
    return std::nullopt;
  std::array<uint8_t, NumberLine::kCapacity> sizes;
  const size_t num_groups = line.groups(15, sizes);
  if (num_groups != 1 && num_groups != 15 && !(num_groups == 3 && sizes[0] == 6 && sizes[1] == 6))
    return std::nullopt;
  return candidate.found(PersonalKind::kCnResidentId, 15);
}

// "(7)" behind a number, or " (7)": the check character and where the bracket ends.
struct Bracketed {
  char check = 0;
  size_t end = 0;
};
Bracketed bracketed(std::string_view text, size_t at) {
  if (folded_at(text, at) == ' ') at += glyph_at(text, at).size;
  if (folded_at(text, at) != '(') return {};
  at += glyph_at(text, at).size;
  const char check = folded_at(text, at);
  if (!is_ascii_alnum(check)) return {};
  at += glyph_at(text, at).size;
  if (folded_at(text, at) != ')') return {};
  return {check, at + glyph_at(text, at).size};
}

// Hong Kong: A123456(3), A1234563. Macau: 1234567(8).
std::optional<Finding> with_bracket(Candidate& candidate, size_t capitals) {
  const NumberLine& line = candidate.line;
  const size_t body = capitals + (capitals == 0 ? 7 : 6);
  if (capitals > 2 || !candidate.digits(capitals, body - capitals)) return std::nullopt;
  const bool hong_kong = capitals > 0 && candidate.wants(PersonalKind::kHkId);
  if (line.size == body || line.gap[body] != 0) {
    const Bracketed check = bracketed(line.text, line.end_of(body));
    if (check.check != 0) {
      std::string whole(line.first(body));
      whole += check.check;
      Finding finding = candidate.found(capitals > 0 ? PersonalKind::kHkId : PersonalKind::kMacauId, body);
      finding.end = check.end;
      if (hong_kong && is_hk_id(whole)) return finding;
      const bool macau =
          line.upper[0] == '1' || line.upper[0] == '5' || line.upper[0] == '7' || line.upper[0] == '8';
      // "1234567 (2)" may be a number and its footnote.
      const bool close = folded_at(line.text, line.end_of(body)) == '(';
      if (capitals == 0 && macau && is_ascii_digit(check.check) && candidate.wants(PersonalKind::kMacauId) &&
          (close || candidate.cue() == Cue::kMacau || candidate.cue() == Cue::kResidentId))
        return finding;
    }
  }
  // Without brackets one in eleven numbers of the form has the right check: what stands in front decides.
  if (hong_kong && line.gap[capitals] == 0 && line.stands_alone(body + 1) && is_hk_id(line.first(body + 1)) &&
      candidate.cue() != Cue::kOther && candidate.cue() != Cue::kPassport)
    return candidate.found(PersonalKind::kHkId, body + 1);
  if (capitals == 0 && candidate.wants(PersonalKind::kMacauId) && candidate.digits(0, 8) &&
      line.stands_alone(8) && candidate.cue() == Cue::kMacau)
    return candidate.found(PersonalKind::kMacauId, 8);
  return std::nullopt;
}

// In few groups or digit by digit, with spaces: "2024-05-06" and "1.2.3" are written otherwise.
bool is_document_form(const NumberLine& line, size_t count) {
  std::array<uint8_t, NumberLine::kCapacity> sizes;
  const size_t num_groups = line.groups(count, sizes);
  const auto gaps = line.gap.begin();
  const auto dashes = std::count(gaps, gaps + static_cast<ptrdiff_t>(count), '-') +
                      std::count(gaps, gaps + static_cast<ptrdiff_t>(count), '.');
  return num_groups == count || (num_groups <= 3 && dashes <= 1);
}

// Letters and eight digits or so: passports and permits, which carry no check.
std::optional<Finding> travel_document(Candidate& candidate, size_t capitals) {
  const NumberLine& line = candidate.line;
  const bool passport = candidate.wants(PersonalKind::kPassport);
  const bool permit = candidate.wants(PersonalKind::kHkMacauPermit);
  const auto stands = [&](size_t letters, size_t digits) {
    return capitals == letters && candidate.digits(letters, digits) && line.stands_alone(letters + digits) &&
           is_document_form(line, letters + digits);
  };
  const char first = line.upper[0];
  if (capitals > 0 && candidate.cue() != Cue::kOther) {
    const bool says_passport = candidate.cue() == Cue::kPassport;
    const bool hong_kong_or_macau = first == 'H' || first == 'M';
    if (permit && hong_kong_or_macau && !says_passport)
      for (const size_t digits : {10, 8})
        if (stands(1, digits)) return candidate.found(PersonalKind::kHkMacauPermit, 1 + digits);
    if (permit && !says_passport && (first == 'C' || first == 'W') && (stands(1, 8) || stands(2, 7)))
      return candidate.found(PersonalKind::kHkMacauPermit, 9);
    constexpr std::string_view kPassportLetters = "EGDSPHK";
    if (passport && kPassportLetters.find(first) != kPassportLetters.npos && stands(1, 8))
      return candidate.found(PersonalKind::kPassport, 9);
    const bool two = first == 'E' || ((first == 'D' || first == 'S' || first == 'P') && line.size > 1 &&
                                      line.upper[1] == 'E');
    if (passport && two && stands(2, 7)) return candidate.found(PersonalKind::kPassport, 9);
  }
  if (permit && capitals == 0 && candidate.digits(0, 8) && line.stands_alone(8) &&
      candidate.cue() == Cue::kPermit)
    return candidate.found(PersonalKind::kHkMacauPermit, 8);
  if (!passport) return std::nullopt;
  for (size_t count = std::min<size_t>(9, line.size); count >= 6; --count) {
    const auto digits =
        std::count_if(line.upper.begin(), line.upper.begin() + static_cast<ptrdiff_t>(count), is_ascii_digit);
    if (digits >= 5 && line.stands_alone(count) && is_document_form(line, count) &&
        candidate.cue() == Cue::kPassport)
      return candidate.found(PersonalKind::kPassport, count);
  }
  return std::nullopt;
}

std::optional<Finding> number_from(std::string_view text, size_t begin, PersonalKinds kinds) {
  Candidate candidate(text, begin, kinds);
  const NumberLine& line = candidate.line;
  // A number in brackets may follow, nothing shorter is one.
  if (line.size < 6 || (line.behind_single && line.gap[1] != 0)) return std::nullopt;
  if (auto found = with_check(candidate)) return found;
  const size_t capitals = candidate.capitals();
  if (candidate.wants(PersonalKind::kTwId) && line.size >= 10 && line.stands_alone(10) &&
      is_tw_id(line.first(10)))
    return candidate.found(PersonalKind::kTwId, 10);
  if (auto found = with_bracket(candidate, capitals)) return found;
  if (auto found = old_resident_id(candidate)) return found;
  return travel_document(candidate, capitals);
}

}  // namespace

std::optional<Finding> personal_number_at(std::string_view text, Word word, size_t floor,
                                          PersonalKinds kinds) {
  // A telephone number's '+' or '(' says more than any check of the digits behind it.
  const bool phones = (kinds & (bit_of(PersonalKind::kPhone) | bit_of(PersonalKind::kCnMobile))) != 0;
  const bool begins_with_digit = is_ascii_digit(folded_at(text, word.begin));
  const auto phone = [&]() -> std::optional<Finding> {
    const auto found = phone_at(text, word.begin);
    if (!found || found->begin < floor) return std::nullopt;
    // Who asks for telephone numbers alone wants these too.
    const bool mobile = found->is_cn_mobile && (kinds & bit_of(PersonalKind::kCnMobile)) != 0;
    if (!mobile && (kinds & bit_of(PersonalKind::kPhone)) == 0) return std::nullopt;
    return Finding{mobile ? PersonalKind::kCnMobile : PersonalKind::kPhone, found->begin, found->end};
  };
  if (begins_with_digit && phones) {
    const char before = folded_before(text, word.begin);
    if (before == '+' || before == '(')
      if (auto found = phone()) return found;
  }
  if (!is_number_begin(text, word.begin)) return std::nullopt;
  // "E 12345678", "G B 8 2 ...": letters that stand apart, the furthest first.
  size_t begins[3] = {word.begin};
  size_t num_begins = 1;
  while (num_begins < 3) {
    const size_t at = begins[num_begins - 1];
    if (at == 0 || !is_number_separator(folded_before(text, at))) break;
    size_t place = at - glyph_before(text, at).size;
    size_t letters = 0;
    while (letters < 3 && place > 0 && is_ascii_upper(folded_before(text, place))) {
      place -= glyph_before(text, place).size;
      ++letters;
    }
    if (letters == 0 || letters == 3 || place < floor || !is_number_begin(text, place)) break;
    // "ID 1234567", "NO. 12345678" say what the number is.
    const char first = folded_at(text, place);
    const char second = folded_at(text, place + glyph_at(text, place).size);
    if ((first == 'I' && second == 'D') || (first == 'N' && second == 'O')) break;
    begins[num_begins++] = place;
  }
  while (num_begins > 0)
    if (auto found = number_from(text, begins[--num_begins], kinds)) return found;
  if (begins_with_digit && phones) return phone();
  return std::nullopt;
}

}  // namespace headrace
