#include "text/regex.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "text/pattern_scan.h"
#include "text/regex_program.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace headrace {
namespace {

constexpr size_t kNone = SIZE_MAX;

// How far an attempt may run on behind its last match before that is worth remembering, and how densely it is
// remembered: one place in each block of so many bytes.
constexpr size_t kLongWay = 128;
constexpr int kMarkShift = 6;

inline size_t length_of(uint8_t lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

#if defined(__SSE2__)
// The letters a-z (and A-Z, if `letters`) among 16 bytes: a bit of each that is none.
inline uint32_t other_bytes(const char* bytes, bool letters) {
  alignas(16) static constexpr uint64_t kFold[2][2] = {{0, 0}, {0x2020202020202020, 0x2020202020202020}};
  const __m128i fold = _mm_load_si128(reinterpret_cast<const __m128i*>(kFold[letters]));
  const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  const __m128i from_a = _mm_sub_epi8(_mm_or_si128(block, fold), _mm_set1_epi8('a'));
  const __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(from_a, _mm_set1_epi8(25)), from_a);
  return static_cast<uint32_t>(_mm_movemask_epi8(is_letter)) ^ 0xFFFF;
}
#endif

// The first byte from `at` on that is none of the letters a-z (or A-Z, if `letters`).
inline size_t end_of_letters(const char* text, size_t size, size_t at, bool letters) {
#if defined(__SSE2__)
  for (; size - at >= 16; at += 16)
    if (const uint32_t others = other_bytes(text + at, letters))
      return at + static_cast<uint32_t>(__builtin_ctz(others));
#endif
  const int folded = letters ? 0x20 : 0;
  while (at < size && static_cast<uint8_t>((text[at] | folded) - 'a') < 26) ++at;
  return at;
}

}  // namespace

struct Regex::Program : RegexProgram {
  explicit Program(std::string_view source)
      : RegexProgram(parse_regex(source)), pattern(source), known(known_pattern(source)) {
    looks_behind =
        std::any_of(start_row.begin(), start_row.end(), [&](uint32_t row) { return row != start_row[0]; });
  }

  std::string pattern;
  KnownPattern known;
  bool looks_behind;

  uint32_t class_at(std::string_view text, size_t at, size_t* length) const {
    if (at >= text.size()) {
      *length = 0;
      return end_class;
    }
    const auto lead = static_cast<uint8_t>(text[at]);
    *length = length_of(lead);
    return lead < 0x80 ? classes.ascii[lead] : classes.of(utf8_decode(text.data() + at, *length));
  }

  uint32_t row_at(std::string_view text, size_t at) const {
    if (at == 0 || !looks_behind) return start_row[end_class];
    size_t before = at - 1;
    while ((static_cast<uint8_t>(text[before]) & 0xC0) == 0x80) --before;
    size_t length;
    return start_row[class_at(text, before, &length)];
  }

  // What most matches in most texts are: at most one character, then a few ASCII letters. The match's end, or
  // kNone when this one is another kind and must be looked at with care.
  [[gnu::always_inline]] size_t short_match_at(std::string_view text, size_t at) const {
#if defined(__SSE2__)
    if (looks_behind || text.size() - at < 20) return kNone;
    const uint32_t* const table = next.data();
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data() + at);
    if (bytes[0] >= 0x80) return kNone;
    uint32_t entry = table[start_row[end_class] + classes.ascii[bytes[0]]];
    size_t length = 1;
    if ((entry & kLoops) == 0) {
      // From the dead state this leads to the dead state.
      if (bytes[1] >= 0x80) return kNone;
      entry = table[(entry >> kRowShift) + classes.ascii[bytes[1]]];
      length = 2;
    }
    if ((entry & kLoops) == 0) return kNone;
    const uint32_t others = other_bytes(text.data() + at + length, (entry & kLoopsOnLetters) != 0);
    if (others == 0) return kNone;
    length += static_cast<uint32_t>(__builtin_ctz(others));
    if (bytes[length] >= 0x80) return kNone;
    // Nothing goes on from here, and the text up to here matches.
    if (table[(entry >> kRowShift) + classes.ascii[bytes[length]]] == kMatchesBefore) return at + length;
#endif
    (void)text;
    (void)at;
    return kNone;
  }

  // The end of the match that begins at `at`, or kNone. dead_ends: what earlier attempts in this text found.
  [[gnu::noinline]] size_t match_at(std::string_view text, size_t at, std::set<uint64_t>& dead_ends) const {
    const uint32_t* const table = next.data();
    uint32_t row = looks_behind ? row_at(text, at) : start_row[end_class];
    size_t end = kNone;
    size_t progress = at;  // no less than this far back is the last match, if there is one
    size_t check = at + kLongWay;
    while (true) {
      size_t length;
      const uint32_t entry = table[row + class_at(text, at, &length)];
      row = entry >> kRowShift;
      if (row == 0) {
        // A branch, not a choice of values: so the next attempt can begin before this entry is loaded.
        if ((entry & kMatchesBefore) != 0) [[likely]]
          return at;
        return end;
      }
      end = (entry & kMatchesBefore) != 0 ? at : end;
      at += length;
      if ((entry & kLoops) != 0) {
        const size_t run = at;
        // A run that matches nothing yet may be gone through once again by the next attempt.
        const size_t limit =
            (entry & kLoopMatches) != 0 ? text.size() : std::min(text.size(), run + kLongWay);
        at = end_of_letters(text.data(), limit, at, (entry & kLoopsOnLetters) != 0);
        if (at > run && (entry & kLoopMatches) != 0) end = at - 1;
      }
      if (at >= check) [[unlikely]] {
        if (end != kNone) progress = end;
        if (at - progress >= kLongWay) return finish_slowly(text, at, row, end, dead_ends);
        check = progress + kLongWay;
      }
    }
  }

  // The rest of an attempt that has gone a long way without a match: stops where an earlier one passed in the
  // same state, and leaves marks itself.
  [[gnu::noinline]] size_t finish_slowly(std::string_view text, size_t at, uint32_t row, size_t end,
                                         std::set<uint64_t>& dead_ends) const {
    std::vector<uint64_t> marks;
    size_t block = at >> kMarkShift;
    while (true) {
      if (at >> kMarkShift != block) {
        block = at >> kMarkShift;
        const uint64_t mark = static_cast<uint64_t>(at) << 32 | row;
        if (dead_ends.contains(mark)) break;
        marks.push_back(mark);
      }
      size_t length;
      const uint32_t entry = next[row + class_at(text, at, &length)];
      if ((entry & kMatchesBefore) != 0) {
        end = at;
        marks.clear();
      }
      row = entry >> kRowShift;
      if (row == 0) break;
      at += length;
    }
    dead_ends.insert(marks.begin(), marks.end());
    return end;
  }
};

Regex::Regex(std::string_view pattern) : program_(std::make_unique<const Program>(pattern)) {}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

const std::string& Regex::pattern() const { return program_->pattern; }

bool Regex::find(std::string_view text, size_t from, size_t* begin, size_t* end) const {
  Matches matches(*this, text);
  matches.at_ = from;
  Piece match;
  if (!matches.next(&match)) return false;
  *begin = match.begin;
  *end = match.end;
  return true;
}

// Also the heart of append_pieces.
[[gnu::always_inline]] inline bool Regex::Matches::find_next(Piece* match) {
  const Program& program = *regex_.program_;
  while (at_ <= text_.size()) {
    const size_t begin = at_;
    size_t end = program.short_match_at(text_, begin);
    if (end == kNone) end = program.match_at(text_, begin, dead_ends_);
    if (end != kNone && (begin < end || end != last_end_)) [[likely]] {
      at_ = last_end_ = end;
      *match = {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
      return true;
    }
    at_ += begin < text_.size() ? length_of(static_cast<uint8_t>(text_[begin])) : 1;
  }
  return false;
}

bool Regex::Matches::next(Piece* match) { return find_next(match); }

void Regex::append_pieces(std::string_view text, Piece piece, Parts parts, std::vector<Piece>& out) const {
  if (program_->known == KnownPattern::kNone) return append_matches(text, piece, parts, out);
  if ((parts & kMatches) == 0) return;  // the patterns that are known match everything
  uint32_t at = piece.begin;
  while (true) {
    at = static_cast<uint32_t>(scan_pattern(program_->known, text, at, piece.end, out));
    if (at == piece.end) return;
    Matches rest(*this, text.substr(at, piece.end - at));
    Piece match{0, piece.end - at};
    rest.find_next(&match);
    out.push_back({at, at + match.end});
    at += match.end;
  }
}

void Regex::append_matches(std::string_view text, Piece piece, Parts parts, std::vector<Piece>& out) const {
  Matches matches(*this, text.substr(piece.begin, piece.end - piece.begin));
  // Written in lots, so that the vector's bounds are looked at seldom.
  std::array<Piece, 256> made;
  size_t count = 0;
  const auto append = [&](uint32_t begin, uint32_t end, Parts part) {
    if (begin == end || (parts & part) == 0) return;
    made[count++] = {piece.begin + begin, piece.begin + end};
  };
  uint32_t previous = 0;
  for (Piece match; matches.find_next(&match); previous = match.end) {
    append(previous, match.begin, kBetween);
    append(match.begin, match.end, kMatches);
    if (count + 2 <= made.size()) continue;
    out.insert(out.end(), made.begin(), made.begin() + static_cast<std::ptrdiff_t>(count));
    count = 0;
  }
  append(previous, piece.end - piece.begin, kBetween);
  out.insert(out.end(), made.begin(), made.begin() + static_cast<std::ptrdiff_t>(count));
}

}  // namespace headrace
