#include "text/normalize.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/unicode.h"

namespace headrace {
namespace {

bool by_combining_class(const NormalizedText::Mark& a, const NormalizedText::Mark& b) {
  return a.combining_class < b.combining_class;
}

// Stable. Real text has one to three marks in a row, where this beats a general sort and allocates nothing; a
// long row is an attack and gets the n log n sort.
void sort_marks(std::vector<NormalizedText::Mark>& marks) {
  if (marks.size() > 16) {
    std::stable_sort(marks.begin(), marks.end(), by_combining_class);
    return;
  }
  for (size_t i = 1; i < marks.size(); ++i)
    for (size_t j = i; j > 0 && by_combining_class(marks[j], marks[j - 1]); --j)
      std::swap(marks[j], marks[j - 1]);
}

}  // namespace

template <bool kOrigins>
class BertNormalizer::Pass {
 public:
  Pass(const BertNormalizer& owner, int64_t first_character, NormalizedText& out)
      : config_(owner.config_),
        ascii_class_(owner.ascii_class_),
        ascii_map_(owner.ascii_map_),
        character_(first_character),
        out_(out) {}

  int64_t run(std::string_view text) {
    const int64_t first = character_;
    for (size_t at = 0; at < text.size(); ++character_) {
      const auto byte = static_cast<uint8_t>(text[at]);
      if (byte < 0x80) {
        ++at;
        ascii(byte);
      } else {
        const size_t length = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
        clean(utf8_decode(text.data() + at, length));
        at += length;
      }
    }
    flush_marks();
    return character_ - first;
  }

 private:
  void ascii(uint8_t byte) {
    switch (ascii_class_[byte]) {
      case Ascii::kDropped:
        return;
      case Ascii::kSpace:
        return ascii_starter(config_.clean_text ? ' ' : byte);
      default:
        return ascii_starter(ascii_map_[byte]);
    }
  }

  void ascii_starter(uint8_t byte) {
    flush_marks();
    consumed_ = character_;
    out_.text.push_back(static_cast<char>(byte));
    if (kOrigins) out_.origins.push_back(static_cast<int32_t>(character_));
  }

  void clean(char32_t c) {
    const CharInfo& info = char_info(c);
    if (config_.clean_text && info.has(CharInfo::kControl | CharInfo::kSpace)) {
      if (!info.has(CharInfo::kControl)) ascii_starter(' ');
      return;
    }
    const bool is_spaced = config_.handle_chinese_chars && info.has(CharInfo::kIdeograph);
    if (is_spaced) ascii_starter(' ');
    reorder(c, info);
    if (is_spaced) ascii_starter(' ');
  }

  void reorder(char32_t c, const CharInfo& info) {
    if (!config_.strip_accents) {
      emit(c, info, character_);
    } else if (info.combining_class == 0 && !info.has(CharInfo::kDecomposes) &&
               c - kHangulFirst >= kHangulCount) {
      starter(c, info);
    } else {
      bool is_first = true;
      decompose(c, [&](char32_t part) {
        const CharInfo& part_info = char_info(part);
        if (part_info.combining_class == 0) {
          starter(part, part_info);
        } else {
          if (is_first) out_.mark_origins.push_back(static_cast<int32_t>(character_));
          out_.marks.push_back({part, part_info.combining_class, is_first});
        }
        is_first = false;
      });
    }
  }

  void starter(char32_t c, const CharInfo& info) {
    flush_marks();
    consumed_ = character_;
    if (!info.has(CharInfo::kNonspacing)) emit(c, info, character_);
  }

  // The reference pairs characters with their originals by counting: after sorting, the k-th of the
  // characters that begin a decomposition is taken to stem from the k-th original, whichever that was; the
  // others from the one before them.
  void flush_marks() {
    if (out_.marks.empty()) return;
    sort_marks(out_.marks);
    size_t next_origin = 0;
    for (const NormalizedText::Mark& mark : out_.marks) {
      if (mark.is_first) consumed_ = out_.mark_origins[next_origin++];
      const CharInfo& info = char_info(mark.character);
      if (!info.has(CharInfo::kNonspacing)) emit(mark.character, info, consumed_);
    }
    out_.marks.clear();
    out_.mark_origins.clear();
  }

  void emit(char32_t c, const CharInfo& info, int64_t origin) {
    if (config_.lowercase) {
      if (c == kDottedCapitalI) {
        append('i', origin);
        c = 0x307;
      } else {
        c = static_cast<char32_t>(static_cast<int32_t>(c) + info.lower_distance);
      }
    }
    append(c, origin);
  }

  void append(char32_t c, int64_t origin) {
    utf8_append(c, out_.text);
    if (kOrigins) out_.origins.resize(out_.text.size(), static_cast<int32_t>(origin));
  }

  const Config& config_;
  const std::array<Ascii, 256>& ascii_class_;
  const std::array<uint8_t, 256>& ascii_map_;
  int64_t character_;
  int64_t consumed_ = 0;  // the original that the last emitted character was paired with
  NormalizedText& out_;
};

BertNormalizer::BertNormalizer(Config config)
    : config_(config),
      boundary_flags_(CharInfo::kSpace | CharInfo::kPunctuation |
                      (config.handle_chinese_chars ? CharInfo::kIdeograph : 0)) {
  for (size_t byte = 0; byte < 256; ++byte) {
    ascii_map_[byte] = static_cast<uint8_t>(byte);
    ascii_class_[byte] = Ascii::kNotAscii;
    if (byte >= 0x80) continue;
    const CharInfo& info = char_info(static_cast<char32_t>(byte));
    if (config.lowercase)
      ascii_map_[byte] = static_cast<uint8_t>(static_cast<int32_t>(byte) + info.lower_distance);
    if (config.clean_text && info.has(CharInfo::kControl)) {
      ascii_class_[byte] = Ascii::kDropped;
    } else if (info.has(CharInfo::kSpace)) {
      ascii_class_[byte] = Ascii::kSpace;
    } else if (info.has(CharInfo::kPunctuation)) {
      ascii_class_[byte] = Ascii::kPunctuation;
    } else {
      ascii_class_[byte] = Ascii::kWord;
    }
  }
}

int64_t BertNormalizer::append(std::string_view text, bool with_origins, int64_t first_character,
                               NormalizedText& out) const {
  if (with_origins) return Pass<true>(*this, first_character, out).run(text);
  return Pass<false>(*this, first_character, out).run(text);
}

}  // namespace headrace
