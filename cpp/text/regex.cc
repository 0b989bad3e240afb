#include "text/regex.h"

#include <algorithm>

#include "base/utf8.h"
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

// The letters a-z, and A-Z if `letters`, from `at` on.
inline size_t end_of_letters(std::string_view text, size_t at, bool letters) {
  const char fold = letters ? 0x20 : 0;
#if defined(__SSE2__)
  while (text.size() - at >= 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    const __m128i from_a = _mm_sub_epi8(_mm_or_si128(block, _mm_set1_epi8(fold)), _mm_set1_epi8('a'));
    const __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(from_a, _mm_set1_epi8(25)), from_a);
    const auto stops = static_cast<uint32_t>(_mm_movemask_epi8(is_letter)) ^ 0xFFFF;
    if (stops != 0) return at + static_cast<size_t>(__builtin_ctz(stops));
    at += 16;
  }
#endif
  while (at < text.size() && static_cast<uint8_t>((text[at] | fold) - 'a') < 26) ++at;
  return at;
}

}  // namespace

struct Regex::Program : RegexProgram {
  explicit Program(std::string_view source) : RegexProgram(parse_regex(source)), pattern(source) {
    looks_behind =
        std::any_of(start_row.begin(), start_row.end(), [&](uint32_t row) { return row != start_row[0]; });
  }

  std::string pattern;
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

  // The end of the match that begins at `at`, or kNone. dead_ends: what earlier attempts in this text found.
  size_t match_at(std::string_view text, size_t at, std::set<uint64_t>& dead_ends) const {
    uint32_t row = row_at(text, at);
    size_t end = kNone;
    size_t progress = at;  // no less than this far back is the last match, if there is one
    size_t check = at + kLongWay;
    const uint32_t* const table = next.data();
    while (true) {
      size_t length;
      const uint32_t entry = table[row + class_at(text, at, &length)];
      end = (entry & kMatchesBefore) != 0 ? at : end;
      row = entry >> kRowShift;
      if (row == 0) return end;
      at += length;
      if ((entry & kLoops) != 0) {
        const size_t stop = end_of_letters(text, at, (entry & kLoopsOnLetters) != 0);
        // The state says of each letter of the run whether the text before it matches.
        if (stop > at && (table[row + classes.ascii['a']] & kMatchesBefore) != 0) end = stop - 1;
        at = stop;
      }
      if (at >= check) {
        if (end != kNone) progress = end;
        if (at - progress >= kLongWay) return finish_slowly(text, at, row, end, dead_ends);
        check = progress + kLongWay;
      }
    }
  }

  // The rest of an attempt that has gone a long way without a match: stops where an earlier one passed in the
  // same state, and leaves marks itself.
  size_t finish_slowly(std::string_view text, size_t at, uint32_t row, size_t end,
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

  bool find(std::string_view text, size_t from, std::set<uint64_t>& dead_ends, size_t* begin,
            size_t* end) const {
    for (size_t at = from; at <= text.size();) {
      if (!looks_behind) {
        // Most attempts fail at once.
        const uint32_t row = start_row[end_class];
        while (at < text.size()) {
          size_t length;
          const uint32_t entry = next[row + class_at(text, at, &length)];
          if (entry != 0) break;
          at += length;
        }
      }
      *end = match_at(text, at, dead_ends);
      if (*end != kNone) {
        *begin = at;
        return true;
      }
      if (at == text.size()) return false;
      at += length_of(static_cast<uint8_t>(text[at]));
    }
    return false;
  }
};

Regex::Regex(std::string_view pattern) : program_(std::make_unique<const Program>(pattern)) {}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

const std::string& Regex::pattern() const { return program_->pattern; }

bool Regex::find(std::string_view text, size_t from, size_t* begin, size_t* end) const {
  std::set<uint64_t> dead_ends;
  return program_->find(text, from, dead_ends, begin, end);
}

bool Regex::Matches::next(Piece* match) {
  size_t begin = 0;
  size_t end = 0;
  while (from_ <= text_.size() && regex_.program_->find(text_, from_, dead_ends_, &begin, &end)) {
    if (begin != end || end != last_end_) {
      from_ = last_end_ = end;
      *match = {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
      return true;
    }
    from_ += from_ < text_.size() ? length_of(static_cast<uint8_t>(text_[from_])) : 1;
  }
  from_ = text_.size() + 1;
  return false;
}

void Regex::append_pieces(std::string_view text, Piece piece, Parts parts, std::vector<Piece>& out) const {
  Matches matches(*this, text.substr(piece.begin, piece.end - piece.begin));
  const auto append = [&](uint32_t begin, uint32_t end, Parts part) {
    if (begin < end && (parts & part) != 0) out.push_back({piece.begin + begin, piece.begin + end});
  };
  uint32_t previous = 0;
  for (Piece match; matches.next(&match); previous = match.end) {
    append(previous, match.begin, kBetween);
    append(match.begin, match.end, kMatches);
  }
  append(previous, piece.end - piece.begin, kBetween);
}

}  // namespace headrace
