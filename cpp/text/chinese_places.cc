#include "text/chinese_places.h"

#include <algorithm>
#include <array>

#include "text/folded_text.h"

namespace headrace {
namespace {

// The short names of the provinces, as plates have them.
constexpr std::u32string_view kPlateProvinces =
    U"\u4eac\u6d25\u6caa\u6e1d\u5180\u8c6b\u4e91\u8fbd\u9ed1\u6e58\u7696\u9c81\u65b0\u82cf\u6d59\u8d63\u9102"
    U"\u6842\u7518\u664b\u8499\u9655\u5409\u95fd\u8d35\u7ca4\u9752\u85cf\u5ddd\u5b81\u743c";
// The last character of a plate may be one for: learner, police, Hong Kong, Macau, trailer, consulate.
constexpr std::u32string_view kPlateEnds = U"\u5b66\u8b66\u6e2f\u6fb3\u6302\u9886";

// The first two characters of every province's name.
constexpr std::u32string_view kProvinces =
    U"\u5317\u4eac\u5929\u6d25\u4e0a\u6d77\u91cd\u5e86\u6cb3\u5317\u5c71\u897f\u8fbd\u5b81\u5409\u6797\u9ed1"
    U"\u9f99\u6c5f\u82cf\u6d59\u6c5f\u5b89\u5fbd\u798f\u5efa\u6c5f\u897f\u5c71\u4e1c\u6cb3\u5357\u6e56\u5317"
    U"\u6e56\u5357\u5e7f\u4e1c\u6d77\u5357\u56db\u5ddd\u8d35\u5dde\u4e91\u5357\u9655\u897f\u7518\u8083\u9752"
    U"\u6d77\u53f0\u6e7e\u5185\u8499\u5e7f\u897f\u897f\u85cf\u5b81\u590f\u65b0\u7586\u9999\u6e2f\u6fb3\u95e8";

// province, city, district, county, banner, town, township, prefecture
constexpr std::u32string_view kAreas = U"\u7701\u5e02\u533a\u53bf\u65d7\u9547\u4e61\u5dde";
// road, street, lane (three words), and the ends of hutong and section
constexpr std::u32string_view kStreets = U"\u8def\u8857\u5df7\u5f04\u540c\u6bb5";
// village, hamlet, manor, garden estate, garden, court, town, mansion, apartments, square, group, team
constexpr std::u32string_view kPlaces =
    U"\u6751\u91cc\u5e84\u82d1\u56ed\u9662\u57ce\u53a6\u5bd3\u573a\u7ec4\u961f\u9547\u4e61\u533a";
// number, lane, building (three words), block, unit, floor (two words), room (two words), household, group
constexpr std::u32string_view kNumberSuffixes =
    U"\u53f7\u5f04\u680b\u5e62\u5ea7\u9662\u5355\u697c\u5c42\u5ba4\u623f\u6237\u7ec4\u865f\u68df";
// Words of a sentence, which no name of a place holds: at, to, address, is, live, go, of, from, send, I, you,
// he, she, they, please, number.
constexpr std::u32string_view kStops =
    U"\u5728\u5230\u5740\u662f\u4f4f\u5f80\u4e86\u7684\u4ece\u53bb\u5bc4\u9001\u6211\u4f60\u4ed6\u5979\u4eec"
    U"\u8bf7\u53f7";
// Such words as cities may hold, but no building behind a number: year, month, day (two words), say, see.
constexpr std::u32string_view kStopsBehind = U"\u5e74\u6708\u65e5\u5929\u8bf4\u89c1";
// Words that end a phrase before an address only behind a verb: "located at", "reaches", "give".
constexpr std::u32string_view kPrepositions = U"\u4e8e\u81f3\u7ed9\u8fbe";
constexpr std::u32string_view kVerbs = U"\u4f4d\u843d\u5c45\u9001\u5bc4\u4f4f\u62b5\u53d1";

// middle, east, west, south, north
constexpr std::u32string_view kSides = U"\u4e2d\u4e1c\u897f\u5357\u5317";
// The first four heavenly stems, which tell houses of one number apart.
constexpr std::u32string_view kStems = U"\u7532\u4e59\u4e19\u4e01";

constexpr char32_t kNumber = 0x53F7;    // hao
constexpr char32_t kBuilding = 0x697C;  // lou
constexpr char32_t kCourt = 0x9662;     // yuan
constexpr char32_t kUnit = 0x5355;      // dan, of danyuan
constexpr char32_t kUnitEnd = 0x5143;   // yuan, of danyuan
constexpr char32_t kTrack = 0x7EBF;     // xian: "line 3" of an underground
constexpr char32_t kWay = 0x9053;       // dao, of dadao and jiedao
constexpr char32_t kLarge = 0x5927;     // da
constexpr char32_t kStreet = 0x8857;    // jie
constexpr char32_t kSmall = 0x5C0F;     // xiao, of xiaoqu: a housing estate
constexpr char32_t kArea = 0x533A;      // qu
constexpr char32_t kAlley = 0x80E1;     // hu, of hutong
constexpr char32_t kAlleyEnd = 0x540C;  // tong

bool is_in(std::u32string_view set, char32_t c) { return set.find(c) != set.npos; }
bool is_chinese(char32_t c) { return (c >= 0x4E00 && c <= 0x9FFF) || c == 0x3007; }

struct Character {
  char32_t c = 0;  // folded where it stands for ASCII; 0 at the end and where the text is ill-formed
  size_t size = 1;
};

Character character(std::string_view text, size_t at) {
  if (at >= text.size()) return {0, 0};
  const Glyph glyph = glyph_at(text, at);
  if (glyph.c != 0 || glyph.size == 1) return {static_cast<char32_t>(glyph.c), glyph.size};
  return {utf8_decode(text.data() + at, glyph.size), glyph.size};
}

Character character_before(std::string_view text, size_t at) {
  if (at == 0) return {0, 0};
  const Glyph glyph = glyph_before(text, at);
  return character(text.substr(0, at), at - glyph.size);
}

// The characters in front of a street number, nearest last.
struct Chain {
  static constexpr size_t kCapacity = 40;
  std::array<char32_t, kCapacity> c;
  std::array<size_t, kCapacity> at;
  size_t size = 0;
};

Chain chain_before(std::string_view text, size_t at, size_t floor) {
  Chain found;
  size_t place = at;
  while (found.size < Chain::kCapacity && place > floor) {
    Character before = character_before(text, place);
    if (before.c == ' ' && place > before.size) {
      // A space may stand between two levels only.
      const Character level = character_before(text, place - before.size);
      if (!is_in(kAreas, level.c) && !is_in(kStreets, level.c) && !is_in(kPlaces, level.c)) break;
      place -= before.size;
      before = level;
    }
    if (!is_chinese(before.c) || place - before.size < floor) break;
    place -= before.size;
    const size_t index = Chain::kCapacity - ++found.size;
    found.c[index] = before.c;
    found.at[index] = place;
  }
  std::move(found.c.end() - static_cast<ptrdiff_t>(found.size), found.c.end(), found.c.begin());
  std::move(found.at.end() - static_cast<ptrdiff_t>(found.size), found.at.end(), found.at.begin());
  return found;
}

// Behind the words of the sentence that the address stands in.
size_t behind_stops(const Chain& chain) {
  for (size_t i = chain.size; i-- > 0;) {
    if (is_in(kStops, chain.c[i])) return i + 1;
    if (i > 0 && is_in(kPrepositions, chain.c[i]) && is_in(kVerbs, chain.c[i - 1])) return i + 1;
  }
  return 0;
}

// The place in the chain where the address begins; chain.size if it is none.
size_t address_begin(const Chain& chain) {
  const size_t none = chain.size;
  const size_t first = behind_stops(chain);
  if (chain.size < first + 2) return none;
  size_t last = chain.size - 1;
  // the middle, or a side, of a long street: "dadao zhong"
  if (is_in(kSides, chain.c[last]) && chain.size > first + 3 &&
      (is_in(kStreets, chain.c[last - 1]) || chain.c[last - 1] == kWay))
    --last;
  const char32_t before = chain.c[last - 1];
  bool street = is_in(kStreets, chain.c[last]);
  if (chain.c[last] == kAlleyEnd) street = before == kAlley;
  if (chain.c[last] == kWay) street = before == kLarge || before == kStreet;
  if (chain.c[last] == kArea) street = before == kSmall;
  if (!street && !is_in(kPlaces, chain.c[last])) return none;

  size_t area = none;    // the first level
  size_t lowest = none;  // the last one
  for (size_t i = first + 1; i < last; ++i) {
    if (!is_in(kAreas, chain.c[i])) continue;
    if (area == none) area = i;
    lowest = i;
  }
  for (size_t i = first; i + 2 < last; ++i) {
    for (size_t k = 0; k + 1 < kProvinces.size(); k += 2)
      if (chain.c[i] == kProvinces[k] && chain.c[i + 1] == kProvinces[k + 1]) return i;
    if (area != none && i > area) break;
  }
  // Names of cities and districts have two to four characters, of streets as a rule too.
  constexpr size_t kLongestName = 5;
  if (area != none) {
    if (lowest + 1 >= last && !street) return none;
    return area - first <= kLongestName ? first : area - 3;
  }
  if (!street || last - first < 2) return none;
  return last - first <= kLongestName ? first : last - 3;
}

// Letters, digits and hyphens at text[at]; how many bytes, at most 8 characters.
size_t label_size(std::string_view text, size_t at) {
  size_t place = at;
  for (int i = 0; i < 8; ++i) {
    const Character next = character(text, place);
    const bool ascii = next.c < 0x80 && is_ascii_alnum(static_cast<char>(next.c));
    if (!ascii && !(next.c == '-' && i > 0)) break;
    place += next.size;
  }
  return place - at;
}

// "12 hao", "3 danyuan", "A zuo": behind the suffix; `at` if it is none.
size_t unit_end(std::string_view text, size_t at) {
  size_t place = at + label_size(text, at);
  if (place == at) return at;
  Character suffix = character(text, place);
  if (!is_in(kNumberSuffixes, suffix.c)) return at;
  place += suffix.size;
  const Character next = character(text, place);
  if (suffix.c == kUnit) return next.c == kUnitEnd ? place + next.size : at;
  if (suffix.c == kNumber && next.c == kTrack) return at;
  if (suffix.c == kNumber && (next.c == kBuilding || next.c == kCourt)) place += next.size;
  return place;
}

}  // namespace

std::optional<ByteRange> cn_plate_at(std::string_view text, size_t begin, size_t end) {
  std::array<char, 8> word;
  size_t size = 0;
  for (size_t place = begin; place < end;) {
    const Glyph glyph = glyph_at(text, place);
    if (size == word.size() || glyph.c == 'I' || glyph.c == 'O') return std::nullopt;
    word[size++] = glyph.c;
    place += glyph.size;
  }
  const Character last = character(text, end);
  const bool ends = is_in(kPlateEnds, last.c);
  const size_t characters = size + (ends ? 1 : 0);
  if (ends) end += last.size;
  Character before = character_before(text, begin);
  if (is_ascii_upper(word[0]) && (characters == 6 || characters == 7)) {
    size_t place = begin;
    if (before.c == ' ') {
      place -= before.size;
      before = character_before(text, place);
    }
    if (is_in(kPlateProvinces, before.c)) return ByteRange{place - before.size, end};
  }
  // The letter stands apart: "jing A-12345", with the middle dot of the plate itself or another sign.
  if (characters != 5 && characters != 6) return std::nullopt;
  if (before.c != kMiddleDot && before.c != ' ' && before.c != '-' && before.c != '.') return std::nullopt;
  size_t place = begin - before.size;
  const Character letter = character_before(text, place);
  if (letter.c >= 0x80 || !is_ascii_upper(static_cast<char>(letter.c))) return std::nullopt;
  place -= letter.size;
  const Character province = character_before(text, place);
  if (!is_in(kPlateProvinces, province.c)) return std::nullopt;
  return ByteRange{place - province.size, end};
}

std::optional<ByteRange> cn_address_at(std::string_view text, size_t at, size_t floor) {
  size_t end = unit_end(text, at);
  if (end == at) return std::nullopt;
  size_t behind_chain = at;
  if (at > floor && is_in(kStems, character_before(text, at).c))
    behind_chain -= character_before(text, at).size;
  if (behind_chain > floor && character_before(text, behind_chain).c == ' ')
    behind_chain -= character_before(text, behind_chain).size;
  const Chain chain = chain_before(text, behind_chain, floor);
  const size_t begin = address_begin(chain);
  if (begin == chain.size) return std::nullopt;
  // What follows: units side by side, or behind a building's name of some characters.
  constexpr size_t kLongestName = 8;
  for (int units = 0; units < 5; ++units) {
    size_t place = end;
    // Behind a space only the next unit belongs to it: a name there may be that of another place.
    const bool apart = character(text, place).c == ' ';
    if (apart) place += character(text, place).size;
    size_t unit = unit_end(text, place);
    for (size_t i = 0; !apart && unit == place && i < kLongestName; ++i) {
      const Character next = character(text, place);
      if (!is_chinese(next.c) || is_in(kStops, next.c) || is_in(kStopsBehind, next.c)) break;
      place += next.size;
      unit = unit_end(text, place);
    }
    if (unit == place) break;
    end = unit;
  }
  // A room's number may stand without a suffix: "3 danyuan 502".
  size_t room = end;
  size_t num_digits = 0;
  for (; is_ascii_digit(folded_at(text, room)); ++num_digits) room += glyph_at(text, room).size;
  if (num_digits >= 3 && num_digits <= 5 && !is_ascii_alnum(folded_at(text, room))) end = room;
  return ByteRange{chain.at[begin], end};
}

}  // namespace headrace
