#include "text/normalize_characters.h"

#include <array>
#include <optional>

#include "base/utf8.h"
#include "text/ascii_run.h"
#include "text/byte_spelling.h"
#include "text/unicode.h"
#include "text/unicode_forms.h"

namespace headrace {
namespace {

bool is_space(char32_t c) { return char_info(c).has(CharInfo::kSpace); }

// Rewrites a text of which most is kept: nothing is copied before the first change.
class Edit {
 public:
  explicit Edit(AlignedText& text) : text_(text), bytes_(text.bytes()) {}

  std::string_view bytes() const { return bytes_; }

  // The character at [begin, end) becomes c, or nothing. In rising order.
  void replace(size_t begin, size_t end, char32_t c) {
    drop(begin, end);
    out_->put(c, begin);
  }
  void add(char32_t c, size_t source) { out_->put(c, source); }
  void drop(size_t begin, size_t end) {
    if (!out_) out_.emplace(text_);
    out_->keep(done_, begin);
    done_ = end;
  }
  void finish() {
    if (!out_) return;
    out_->keep(done_, bytes_.size());
    out_->finish();
  }

 private:
  AlignedText& text_;
  const std::string_view bytes_;
  std::optional<AlignedText::Rewrite> out_;
  size_t done_ = 0;
};

// Calls f(c, begin, end) for each character whose first byte is at least lowest_lead, but for the ideographs
// from U+4000 to U+9FFF, which no stage here changes.
template <typename Function>
void for_each_above(std::string_view text, uint8_t lowest_lead, Function&& f) {
  for (size_t at = 0; (at = skip_ascii(text, at)) < text.size();) {
    const auto lead = static_cast<uint8_t>(text[at]);
    const size_t length = utf8_length(text[at]);
    if (lead >= lowest_lead && (lead < 0xE4 || lead > 0xE9))
      f(utf8_decode(text.data() + at, length), at, at + length);
    at += length;
  }
}

bool is_dropped_by_nmt(char32_t c) {
  return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
}

bool is_space_to_nmt(char32_t c) {
  return c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
         c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
}

size_t find_capital(std::string_view text, size_t from, size_t end) {
  size_t at = from;
#if defined(__SSE2__)
  for (; end - at >= 16; at += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    const __m128i is_capital = _mm_and_si128(_mm_cmpgt_epi8(block, _mm_set1_epi8('A' - 1)),
                                             _mm_cmplt_epi8(block, _mm_set1_epi8('Z' + 1)));
    const auto mask = static_cast<uint32_t>(_mm_movemask_epi8(is_capital));
    if (mask != 0) return at + static_cast<size_t>(std::countr_zero(mask));
  }
#endif
  while (at < end && (text[at] < 'A' || text[at] > 'Z')) ++at;
  return at;
}

}  // namespace

void Lowercase::apply(AlignedText& text) const {
  Edit edit(text);
  const std::string_view bytes = edit.bytes();
  for (size_t at = 0; at < bytes.size();) {
    const size_t ascii_end = skip_ascii(bytes, at);
    while ((at = find_capital(bytes, at, ascii_end)) < ascii_end) {
      edit.replace(at, at + 1, static_cast<char32_t>(bytes[at] | 0x20));
      ++at;
    }
    if (at == bytes.size()) break;
    const auto lead = static_cast<uint8_t>(bytes[at]);
    const size_t length = utf8_length(bytes[at]);
    if (lead < 0xE4 || lead > 0xE9) {  // ideographs have no case
      const char32_t c = utf8_decode(bytes.data() + at, length);
      if (c == kDottedCapitalI) {
        edit.replace(at, at + length, 'i');
        edit.add(0x307, at);
      } else if (const int32_t distance = char_info(c).lower_distance) {
        edit.replace(at, at + length, static_cast<char32_t>(static_cast<int32_t>(c) + distance));
      }
    }
    at += length;
  }
  edit.finish();
}

void StripAccents::apply(AlignedText& text) const {
  Edit edit(text);
  for_each_above(edit.bytes(), 0xCC, [&](char32_t c, size_t begin, size_t end) {
    if ((form_info(c).flags & FormInfo::kMark) != 0) edit.drop(begin, end);
  });
  edit.finish();
}

void Strip::apply(AlignedText& text) const {
  const std::string_view bytes = text.bytes();
  size_t begin = 0;
  size_t end = bytes.size();
  while (left_ && begin < end) {
    const size_t length = utf8_length(bytes[begin]);
    if (!is_space(utf8_decode(bytes.data() + begin, length))) break;
    begin += length;
  }
  while (right_ && begin < end) {
    const size_t last = utf8_begin(bytes, end - 1);
    if (!is_space(utf8_decode(bytes.data() + last, end - last))) break;
    end = last;
  }
  if (end - begin == bytes.size()) return;
  AlignedText::Rewrite out(text);
  out.keep(begin, end);
  out.finish();
}

void Nmt::apply(AlignedText& text) const {
  Edit edit(text);
  const std::string_view bytes = edit.bytes();
  const auto character = [&](char32_t c, size_t begin, size_t end) {
    if (is_dropped_by_nmt(c)) {
      edit.drop(begin, end);
    } else if (is_space_to_nmt(c)) {
      edit.replace(begin, end, ' ');
    }
  };
  for (size_t at = 0; at < bytes.size();) {
    const auto byte = static_cast<uint8_t>(bytes[at]);
    const size_t length = utf8_length(bytes[at]);
    if (byte < 0x20 || byte >= 0x7F) character(utf8_decode(bytes.data() + at, length), at, at + length);
    at += length;
  }
  edit.finish();
}

void SpellBytes::apply(AlignedText& text) const {
  const std::string_view bytes = text.bytes();
  if (bytes.empty()) return;
  AlignedText::Rewrite out(text);
  size_t begin = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    const auto byte = static_cast<uint8_t>(bytes[at]);
    if (byte > 0x20 && byte < 0x7F) continue;  // spells itself
    out.keep(begin, at);
    out.put(byte_spelling(byte), at);
    begin = at + 1;
  }
  out.keep(begin, bytes.size());
  out.finish();
}

}  // namespace headrace
