#include "text/personal_data.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "text/chinese_places.h"
#include "text/context_cues.h"
#include "text/folded_text.h"
#include "text/network_addresses.h"
#include "text/number_line.h"
#include "text/personal_numbers.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace headrace {
namespace {

constexpr std::array<std::string_view, kNumPersonalKinds> kNames{
    "email",           "phone",    "card",       "iban",        "ip",       "cn_resident_id",
    "cn_mobile",       "cn_uscc",  "passport",   "hk_id",       "macau_id", "tw_id",
    "hk_macau_permit", "cn_plate", "cn_address", "placeholder",
};

uint8_t byte_at(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

// Whether a digit or '@', plain or full-width (EF BC 90..99, EF BC A0), begins at text[at].
bool is_trigger(std::string_view text, size_t at) {
  const char c = text[at];
  if (is_ascii_digit(c) || c == '@') return true;
  if (byte_at(text, at) != 0xEF || text.size() - at < 3 || byte_at(text, at + 1) != 0xBC) return false;
  const uint8_t third = byte_at(text, at + 2);
  return (third >= 0x90 && third <= 0x99) || third == 0xA0;
}

// The first trigger at or behind `at`; text.size() if there is none.
size_t next_trigger(std::string_view text, size_t at) {
#if defined(__SSE2__)
  const auto load = [&](size_t place) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + place));
  };
  const auto all = [](int byte) { return _mm_set1_epi8(static_cast<char>(byte)); };
  // Unsigned x <= limit, as the smaller of both being x.
  const auto at_most = [](__m128i x, __m128i limit) { return _mm_cmpeq_epi8(_mm_min_epu8(x, limit), x); };
  for (; text.size() - at >= 16 + 2; at += 16) {
    const __m128i first = load(at);
    __m128i hits =
        _mm_or_si128(at_most(_mm_sub_epi8(first, all('0')), all(9)), _mm_cmpeq_epi8(first, all('@')));
    const __m128i wide = _mm_cmpeq_epi8(first, all(0xEF));
    if (_mm_movemask_epi8(wide) != 0) {
      const __m128i third = load(at + 2);
      const __m128i ends =
          _mm_or_si128(at_most(_mm_sub_epi8(third, all(0x90)), all(9)), _mm_cmpeq_epi8(third, all(0xA0)));
      hits = _mm_or_si128(hits,
                          _mm_and_si128(_mm_and_si128(wide, ends), _mm_cmpeq_epi8(load(at + 1), all(0xBC))));
    }
    const auto mask = static_cast<uint32_t>(_mm_movemask_epi8(hits));
    if (mask != 0) return at + static_cast<size_t>(std::countr_zero(mask));
  }
#endif
  while (at < text.size() && !is_trigger(text, at)) ++at;
  return at;
}

// The part of a text that a decision may depend on, and where it begins in that text.
struct Window {
  std::string_view text;
  size_t begin;
};

Window window_around(std::string_view text, size_t at) {
  const size_t begin = at - std::min(at, kReachBehind);
  return {text.substr(begin, at - begin + kReachAhead), begin};
}

// The word of letters and digits around text[at]; nothing if more than a few letters stand in front, or '_':
// then the digits are within a name.
std::optional<Word> word_around(std::string_view text, size_t at, size_t floor, size_t& end) {
  constexpr int kMostLetters = 6;
  size_t begin = at;
  bool apart = true;
  for (int letters = 0; begin > floor; ++letters) {
    const Glyph glyph = glyph_before(text, begin);
    if (!is_ascii_alnum(glyph.c) && glyph.c != '_') break;
    apart = letters < kMostLetters && glyph.c != '_' && begin - glyph.size >= floor;
    if (!apart) break;
    begin -= glyph.size;
  }
  end = at;
  while (end < text.size()) {
    const Glyph glyph = glyph_at(text, end);
    if (!is_ascii_alnum(glyph.c)) break;
    end += glyph.size;
  }
  if (!apart) return std::nullopt;
  return Word{begin, end};
}

// "<EMAIL_1>" around its first digit.
std::optional<ByteRange> placeholder_at(std::string_view text, size_t at) {
  size_t begin = at;
  if (begin == 0 || text[begin - 1] != '_') return std::nullopt;
  while (begin > 0 && at - begin < 24 && (is_ascii_upper(text[begin - 1]) || text[begin - 1] == '_')) --begin;
  if (begin == 0 || text[begin - 1] != '<' || !is_ascii_upper(text[begin])) return std::nullopt;
  size_t end = at;
  while (end < text.size() && end - at < 10 && is_ascii_digit(text[end])) ++end;
  if (end == text.size() || text[end] != '>') return std::nullopt;
  return ByteRange{begin - 1, end + 1};
}

// Whether what stands around a short run of digits rules out everything: most digits of most texts.
bool is_plain_number(std::string_view text, Word word) {
  if (word.end - word.begin > 5) return false;
  for (size_t at = word.begin; at < word.end; ++at)
    if (!is_ascii_digit(text[at])) return false;
  if (word.begin > 0) {
    const char before = text[word.begin - 1];
    if (before == '+' || before == '(' || before == ':' || before == '_' ||
        byte_at(text, word.begin - 1) >= 0x80)
      return false;
    // a letter that stands apart
    if (is_number_separator(before) && word.begin > 1 &&
        (is_ascii_upper(text[word.begin - 2]) || byte_at(text, word.begin - 2) >= 0x80))
      return false;
  }
  if (word.end == text.size()) return true;
  const char after = text[word.end];
  if (byte_at(text, word.end) >= 0x80 || after == ':' || after == '(' || after == ')' || after == '/')
    return false;
  if (!is_number_separator(after)) return true;
  if (word.end + 1 == text.size()) return true;
  const char next = text[word.end + 1];
  return !is_ascii_digit(next) && next != '(' && byte_at(text, word.end + 1) < 0x80;
}

// Decides about the first digit of a word. Returns where to go on; a finding, if any, ends there.
size_t at_digit(std::string_view text, size_t at, size_t floor, PersonalKinds kinds,
                std::optional<Finding>& found) {
  const auto wants = [&](PersonalKind kind) { return (kinds & bit_of(kind)) != 0; };
  const auto take = [&](PersonalKind kind, const std::optional<ByteRange>& range) {
    if (!range || range->first < floor) return false;
    found = {kind, range->first, range->second};
    return true;
  };
  if (wants(PersonalKind::kPlaceholder) && take(PersonalKind::kPlaceholder, placeholder_at(text, at)))
    return found->end;
  size_t end = at;
  const std::optional<Word> word = word_around(text, at, floor, end);
  if (word && is_plain_number(text, *word)) return end;
  if (wants(PersonalKind::kIp)) {
    const bool colon = folded_at(text, end) == ':' || (word && folded_before(text, word->begin) == ':');
    if (colon && take(PersonalKind::kIp, ipv6_at(text, at))) return found->end;
    if (word && word->begin == at && folded_at(text, end) == '.') {
      const auto address = ipv4_at(text, at);
      if (address && cue_before(text, at) != Cue::kOther && take(PersonalKind::kIp, address))
        return found->end;
    }
  }
  if (!word) return end;
  if (wants(PersonalKind::kCnPlate) &&
      take(PersonalKind::kCnPlate, cn_plate_at(text, word->begin, word->end)))
    return found->end;
  if (wants(PersonalKind::kCnAddress) &&
      take(PersonalKind::kCnAddress, cn_address_at(text, word->begin, floor)))
    return found->end;
  found = personal_number_at(text, *word, floor, kinds);
  return found ? found->end : end;
}

// Whether a word of letters alone, longer than any group of a number, ends in front of text[end].
bool is_long_word_before(std::string_view text, size_t end) {
  constexpr size_t kShortest = 5;
  constexpr size_t kLongest = 40;  // than any number; what is in front of so many letters does not matter
  size_t letters = 0;
  while (letters < kLongest && letters < end && is_ascii_letter(text[end - 1 - letters])) ++letters;
  if (letters < kShortest) return false;
  if (letters == kLongest || letters == end) return true;
  const char before = text[end - 1 - letters];
  return !is_ascii_digit(before) && static_cast<uint8_t>(before) < 0x80;
}

}  // namespace

std::string_view personal_kind_name(PersonalKind kind) { return kNames[static_cast<size_t>(kind)]; }

void find_personal_data(std::string_view text, PersonalKinds kinds, size_t until, SearchPlace& place,
                        std::vector<Finding>& out) {
  while (true) {
    const size_t hit = next_trigger(text, place.at);
    if (hit >= until) {
      // Not `hit`: the text may end within a full-width digit.
      place.at = std::max(place.at, std::min(hit, until));
      return;
    }
    place.at = hit;
    const Window window = window_around(text, place.at);
    const size_t at = place.at - window.begin;
    const size_t floor = place.floor < window.begin ? 0 : place.floor - window.begin;
    const Glyph glyph = glyph_at(window.text, at);
    std::optional<Finding> found;
    size_t next = at + glyph.size;
    if (glyph.c != '@') {
      next = at_digit(window.text, at, floor, kinds, found);
    } else if ((kinds & bit_of(PersonalKind::kEmail)) != 0) {
      if (const auto email = email_at(window.text, at, floor)) {
        found = {PersonalKind::kEmail, email->first, email->second};
        next = email->second;
      }
    }
    place.at = window.begin + next;
    if (!found) continue;
    out.push_back({found->kind, window.begin + found->begin, window.begin + found->end});
    place.floor = place.at;
  }
}

std::vector<Finding> find_personal_data(std::string_view text, PersonalKinds kinds) {
  std::vector<Finding> out;
  SearchPlace place;
  find_personal_data(text, kinds, text.size(), place, out);
  return out;
}

size_t text_break(std::string_view text, size_t from) {
  constexpr std::string_view kBreaks = "\n\r!?;,\"'*={}[]|\\^`$&";
  // The comma, full stop, exclamation and question mark, semicolon, enumeration comma, and quotation marks
  // of Chinese.
  constexpr std::array<std::string_view, 10> kWideBreaks{"\uff0c", "\u3002", "\uff01", "\uff1f", "\uff1b",
                                                         "\u3001", "\u201c", "\u201d", "\u300a", "\u300b"};
  for (size_t at = text.size(); at > from; --at) {
    const char c = text[at - 1];
    if (c == ' ') {
      if (is_long_word_before(text, at - 1)) return at;
    } else if (static_cast<uint8_t>(c) < 0x80) {
      if (kBreaks.find(c) != kBreaks.npos) return at;
    } else if (at >= 3 && std::find(kWideBreaks.begin(), kWideBreaks.end(), text.substr(at - 3, 3)) !=
                              kWideBreaks.end()) {
      return at;
    }
  }
  return text.npos;
}

}  // namespace headrace
