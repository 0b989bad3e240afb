#include "text/pattern_scan.h"

#include <algorithm>

#include "text/text_masks.h"

namespace headrace {
namespace {

constexpr size_t kWindow = 64;

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kCl100k =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kO200k =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr std::string_view kDeepSeekNumbers = R"(\p{N}{1,3})";
constexpr std::string_view kDeepSeekKanji = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
constexpr std::string_view kDeepSeekRest =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|)"
    "[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|"
    "\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

uint64_t bit(size_t at) { return at >= 64 ? 0 : uint64_t{1} << at; }

// Up to 64 bytes from a match's beginning, and what is known of the matches in them.
template <KnownPattern kPattern>
class Window {
 public:
  // bytes: 64 may be read, of which `size` are the text's; is_last: the text ends with them.
  Window(const char* bytes, size_t size, bool is_last)
      : bytes_(bytes), masks_(ascii_masks(bytes)), size_(size), is_last_(is_last) {
    if ((masks_.high & low_bits(size_)) != 0) read_high();
  }

  // Where matches begin, as far as that is certain: bit 0, and all that lie before the last of these bits.
  uint64_t starts() {
    split_kinds();
    if constexpr (kPattern == KnownPattern::kDeepSeek) {
      find_borders();
      absorb_newlines();
      starts_ = first_of(letters_) | first_of(others_) | first_of(spaces_) | first_of(rest_) | borders_;
      add_numbers();
      add_line_ends();
      join_blanks(spaces_ & ~masks_.newline, letters_);
      join_rest();
      join_ascii();
    } else if constexpr (kPattern == KnownPattern::kGpt2) {
      starts_ = first_of(letters_) | first_of(numbers_) | first_of(others_) | first_of(spaces_);
      join_blanks(spaces_, ~uint64_t{0});
    } else {
      absorb_newlines();
      starts_ = first_of(letters_) | first_of(others_) | first_of(spaces_);
      if constexpr (kPattern == KnownPattern::kO200k) {
        starts_ |= first_of(masks_.upper) & masks_.lower << 1;
        starts_ = (starts_ & ~absorbed_) | (absorbed_ << 1 & ~absorbed_ & others_);
      }
      add_numbers();
      add_line_ends();
      join_blanks(spaces_ & ~masks_.newline, letters_);
      join_singles();
    }
    if constexpr (kPattern == KnownPattern::kO200k) {
      add_suffixes();
    } else if constexpr (kPattern != KnownPattern::kDeepSeek) {
      add_contractions();
    }
    return (starts_ | 1) & low_bits(certain_);
  }

  bool is_last() const { return is_last_; }

  // Where only bit 0 is a start and the match goes on with letters: how far it may be followed, up to the
  // last of them, where another window may begin. 0: that is not so simple.
  size_t known_letters() const {
    if (certain_ < size_ || (letters_ & bit(size_ - 1)) == 0) return 0;
    // Capitals and small letters have an order; and letters behind a sign are of ASCII only.
    if (kPattern == KnownPattern::kO200k && (letters_ & ~masks_.letter) != 0) return 0;
    if (kPattern == KnownPattern::kDeepSeek && (others_ & 1) != 0) return 0;
    return static_cast<size_t>(63 - std::countl_zero(~masks_.tail & low_bits(size_)));
  }

 private:
  void read_high() {
    const uint64_t leads = ~masks_.tail & low_bits(size_);
    const auto last = static_cast<size_t>(63 - std::countl_zero(leads | 1));
    const auto lead = static_cast<uint8_t>(bytes_[last]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (last + length > size_) size_ = last;  // the window ends within that character
    add_high_masks<kPattern == KnownPattern::kDeepSeek>(bytes_, size_, masks_);
  }

  // The pattern's own kinds: letters, numbers, white space, others, each a run of bits per run of characters.
  void split_kinds() {
    uint64_t within = low_bits(size_);
    letters_ = (masks_.upper | masks_.lower | masks_.letter) & within;
    numbers_ = masks_.number & within;
    spaces_ = masks_.space & within;
    if constexpr (kPattern == KnownPattern::kO200k) {
      letters_ |= masks_.mark & within;
      others_ = within & ~(letters_ | numbers_ | spaces_);
      // Letters that may stand for either case, before a capital: the pattern goes back and forth. And a mark
      // belongs to letters or to signs, as the match that it is in has it.
      const uint64_t either = masks_.letter | masks_.mark;
      const uint64_t unclear = ((either << 1 & masks_.upper) | (others_ << 1 & masks_.mark)) & within;
      if (unclear != 0) {
        size_ = static_cast<size_t>(std::countr_zero(unclear));
        is_last_ = false;
        within = low_bits(size_);
        letters_ &= within;
        numbers_ &= within;
        spaces_ &= within;
        others_ &= within;
      }
    } else if constexpr (kPattern == KnownPattern::kDeepSeek) {
      letters_ |= masks_.mark & within;
      others_ = masks_.sign & within;
      rest_ = within & ~(letters_ | numbers_ | spaces_ | others_);
    } else {
      others_ = within & ~(letters_ | numbers_ | spaces_);
    }
    certain_ = size_;
  }

  // DeepSeek: numbers and kanji are cut out first, so no match of the last pattern reaches across these.
  void find_borders() {
    const uint64_t kanji = masks_.kanji & low_bits(size_);
    borders_ = first_of(numbers_) | first_of(kanji) | (numbers_ << 1 & ~numbers_) | (kanji << 1 & ~kanji);
  }

  // DeepSeek: what is neither letter nor sign nor space, controls above all, begins the match of letters
  // behind it; before that it is matched by nothing, which makes it a piece, too.
  void join_rest() {
    const uint64_t letters = letters_ & ~borders_ & low_bits(size_);
    const uint64_t last = rest_ & letters >> 1;
    if (last == 0) return;
    starts_ |= leads_of(last);
    starts_ &= ~(last << 1);
  }

  // DeepSeek: a sign of ASCII takes letters of ASCII into its match, and others begin one of their own.
  void join_ascii() {
    const uint64_t letters = letters_ & ~masks_.high;
    const uint64_t from = (starts_ & others_ & ~masks_.high) << 1 & letters;
    starts_ &= ~from;
    starts_ |= (letters + from) & ~letters & letters_;
  }

  static uint64_t first_of(uint64_t runs) { return runs & ~(runs << 1); }

  // The first byte of each character whose last byte is in `ends`.
  uint64_t leads_of(uint64_t ends) const {
    for (int i = 0; i < 3; ++i) {
      const uint64_t tails = ends & masks_.tail;
      ends = (ends & ~tails) | tails >> 1;
    }
    return ends;
  }

  // Signs take the newlines behind them (o200k: and slashes from there on) into their match.
  void absorb_newlines() {
    uint64_t fill = masks_.newline;
    uint64_t from = others_ << 1 & fill & ~borders_ & low_bits(size_);
    if constexpr (kPattern == KnownPattern::kO200k) {
      if ((masks_.newline << 1 & masks_.slash) != 0) {
        fill = (masks_.newline | masks_.slash) & low_bits(size_);
        for (uint64_t before = 0; from != before;) {
          before = from;
          from |= from << 1 & fill;
        }
        absorbed_ = from;
        spaces_ &= ~absorbed_;
        return;
      }
    }
    // A carry runs to the end of each run of newlines that one of those begins.
    absorbed_ = fill & ~(fill + from) & low_bits(size_);
    spaces_ &= ~absorbed_;
  }

  void add_numbers() {
    if constexpr (kPattern == KnownPattern::kQwen2) {
      starts_ |= numbers_ & ~masks_.tail;
    } else {
      starts_ |= first_of(numbers_);
      if ((numbers_ & masks_.high) != 0) return add_numbers_slowly();
      const uint64_t fourth = numbers_ & numbers_ << 1 & numbers_ << 2;
      for (uint64_t at = first_of(numbers_) << 3 & fourth; at != 0; at = at << 3 & fourth) starts_ |= at;
    }
  }

  // Every fourth character, of whatever length.
  void add_numbers_slowly() {
    int in_match = 0;
    for (uint64_t left = numbers_ & ~masks_.tail; left != 0; left &= left - 1) {
      const uint64_t lead = left & ~(left - 1);
      if ((first_of(numbers_) & lead) != 0 || in_match == 3) {
        starts_ |= lead;
        in_match = 0;
      }
      ++in_match;
    }
  }

  // White space up to its last newline is one match, so another begins behind that newline.
  void add_line_ends() {
    const uint64_t newlines = masks_.newline & spaces_;
    const uint64_t plain = spaces_ & ~newlines;
    for (uint64_t left = newlines & plain >> 1; left != 0; left &= left - 1) {
      const auto behind = static_cast<size_t>(std::countr_zero(left)) + 1;
      const size_t end = behind + static_cast<size_t>(std::countr_one(plain >> behind));
      if (end >= size_ && !is_last_) {
        certain_ = std::min(certain_, behind);
        return;
      }
      if ((newlines & bit(end)) == 0) starts_ |= bit(behind);
    }
  }

  // The last of several spaces begins a match, and is the first character of what follows where it may be: a
  // blank before letters and others (GPT-2: and numbers), any other space before `any`.
  void join_blanks(uint64_t plain_spaces, uint64_t any) {
    const uint64_t visible = (letters_ | numbers_ | others_ | rest_) & ~borders_;
    const uint64_t last = plain_spaces & visible >> 1;
    starts_ |= (masks_.high & last) != 0 ? leads_of(last) : last;
    if constexpr (kPattern == KnownPattern::kGpt2) {
      (void)any;
      starts_ &= ~((last & masks_.blank) << 1);
    } else {
      starts_ &= ~((last << 1 & any) | ((last & masks_.blank) << 1 & others_));
    }
  }

  // A single sign before letters is the first character of their match.
  void join_singles() {
    const uint64_t behind = starts_ & others_ & ~absorbed_;
    const uint64_t next = ((masks_.tail + (behind << 1)) & ~masks_.tail) | (behind << 1 & ~masks_.tail);
    starts_ &= ~(next & letters_);
  }

  // How many bytes behind the apostrophe at `at` belong to a contraction; 0: none. SIZE_MAX: it is not known.
  size_t contraction_behind(size_t at) const {
    if (at + 3 > size_ && !is_last_) return SIZE_MAX;
    constexpr bool kAnyCase = kPattern != KnownPattern::kGpt2;
    const auto byte = [&](size_t i) {
      return at + i < size_ ? static_cast<uint8_t>(bytes_[at + i]) : uint8_t{0};
    };
    const auto letter = [&](size_t i) { return kAnyCase ? byte(i) | 0x20 : byte(i); };
    switch (letter(1)) {
      case 's':
      case 't':
      case 'm':
      case 'd':
        return 1;
      case 'r':
      case 'v':
        return letter(2) == 'e' ? 2 : 0;
      case 'l':
        return letter(2) == 'l' ? 2 : 0;
      default:
        // U+017F is a small s, too.
        return kAnyCase && byte(1) == 0xC5 && byte(2) == 0xBF ? 2 : 0;
    }
  }

  // A contraction where a match begins is that match.
  void add_contractions() {
    for (uint64_t left = starts_ & masks_.apostrophe; left != 0; left &= left - 1) {
      const auto at = static_cast<size_t>(std::countr_zero(left));
      const size_t length = contraction_behind(at);
      if (length == SIZE_MAX) {
        certain_ = std::min(certain_, at + 1);
        return;
      }
      if (length == 0) continue;
      starts_ = (starts_ & ~bit(at + 1)) | bit(at + 1 + length);
    }
  }

  // A contraction behind letters belongs to their match, unless those are a contraction themselves.
  void add_suffixes() {
    size_t end = 0;  // of the last one
    for (uint64_t left = letters_ << 1 & masks_.apostrophe & low_bits(size_); left != 0; left &= left - 1) {
      const auto at = static_cast<size_t>(std::countr_zero(left));
      if (at == end) continue;
      const size_t length = contraction_behind(at);
      if (length == SIZE_MAX) {
        // Whether a match begins here is open, and so is where the one before ends.
        certain_ = std::min(certain_, at);
        return;
      }
      if (length == 0) continue;
      end = at + 1 + length;
      starts_ = (starts_ & ~(low_bits(end) & ~low_bits(at))) | bit(end);
    }
  }

  const char* bytes_;
  TextMasks masks_;
  size_t size_;
  bool is_last_;
  size_t certain_ = 0;  // starts before this are
  uint64_t letters_ = 0;
  uint64_t numbers_ = 0;
  uint64_t spaces_ = 0;
  uint64_t others_ = 0;
  uint64_t absorbed_ = 0;
  uint64_t rest_ = 0;     // of kDeepSeek
  uint64_t borders_ = 0;  // of kDeepSeek
  uint64_t starts_ = 0;
};

template <KnownPattern kPattern>
size_t scan(std::string_view text, size_t at, size_t end, std::vector<Piece>& out) {
  auto begin = static_cast<uint32_t>(at);  // of the match at hand
  Piece pieces[16 * kWindow];
  size_t count = 0;
  while (at < end) {
    if (count > 15 * kWindow) {
      out.insert(out.end(), pieces, pieces + count);
      count = 0;
    }
    const size_t count_before = count;
    char copy[kWindow];
    const char* bytes = text.data() + at;
    if (text.size() - at < kWindow) {
      std::memset(copy, 0, sizeof copy);
      std::memcpy(copy, bytes, text.size() - at);
      bytes = copy;
    }
    Window<kPattern> window(bytes, std::min(kWindow, end - at), end - at <= kWindow);
    uint64_t starts = window.starts();
    for (starts &= starts - 1; starts != 0; starts &= starts - 1) {
      const auto next = static_cast<uint32_t>(at) + static_cast<uint32_t>(std::countr_zero(starts));
      pieces[count++] = {begin, next};
      begin = next;
    }
    if (window.is_last()) {
      pieces[count++] = {begin, static_cast<uint32_t>(end)};
      begin = static_cast<uint32_t>(end);
    }
    if (count > count_before) {
      at = begin;
    } else if (const size_t letters = window.known_letters(); letters > 0) {
      at += letters;
    } else {
      break;
    }
  }
  out.insert(out.end(), pieces, pieces + count);
  return begin;
}

}  // namespace

KnownPattern known_pattern(std::string_view pattern) {
  if (pattern == kGpt2) return KnownPattern::kGpt2;
  if (pattern == kCl100k) return KnownPattern::kCl100k;
  if (pattern == kQwen2) return KnownPattern::kQwen2;
  if (pattern == kO200k) return KnownPattern::kO200k;
  return KnownPattern::kNone;
}

KnownPattern joint_pattern(std::string_view first, std::string_view second, std::string_view third) {
  const bool is_known = first == kDeepSeekNumbers && second == kDeepSeekKanji && third == kDeepSeekRest;
  return is_known ? KnownPattern::kDeepSeek : KnownPattern::kNone;
}

size_t scan_pattern(KnownPattern pattern, std::string_view text, size_t at, size_t end,
                    std::vector<Piece>& out) {
  switch (pattern) {
    case KnownPattern::kGpt2:
      return scan<KnownPattern::kGpt2>(text, at, end, out);
    case KnownPattern::kCl100k:
      return scan<KnownPattern::kCl100k>(text, at, end, out);
    case KnownPattern::kQwen2:
      return scan<KnownPattern::kQwen2>(text, at, end, out);
    case KnownPattern::kO200k:
      return scan<KnownPattern::kO200k>(text, at, end, out);
    case KnownPattern::kDeepSeek:
      return scan<KnownPattern::kDeepSeek>(text, at, end, out);
    case KnownPattern::kNone:
      break;
  }
  return at;
}

}  // namespace headrace
