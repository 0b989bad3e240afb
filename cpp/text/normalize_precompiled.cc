#include "text/normalize_precompiled.h"

#include <algorithm>
#include <optional>

#include "base/utf8.h"
#include "text/ascii_run.h"
#include "text/graphemes.h"
#include "text/paired_rewrite.h"
#include "text/unicode_forms.h"

namespace headrace {
namespace {

// From `at` on, the first byte outside 0x20 to 0x7E.
size_t skip_printable(std::string_view text, size_t at) {
#if defined(__SSE2__)
  for (; text.size() - at >= 16; at += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    const __m128i other =
        _mm_or_si128(_mm_cmplt_epi8(block, _mm_set1_epi8(0x20)), _mm_cmpeq_epi8(block, _mm_set1_epi8(0x7F)));
    const auto mask = static_cast<uint32_t>(_mm_movemask_epi8(other));
    if (mask != 0) return at + static_cast<size_t>(std::countr_zero(mask));
  }
#endif
  while (at < text.size() && text[at] >= 0x20 && text[at] < 0x7F) ++at;
  return at;
}

// Whether a character with this property never joins the cluster of a single one before it, unless that is a
// kPrepend.
bool stands_alone(Grapheme grapheme) {
  return grapheme == Grapheme::kOther || grapheme == Grapheme::kPictograph ||
         grapheme == Grapheme::kConsonant;
}

}  // namespace

// The reference lists the new characters with a change each (paired_rewrite.h) and corrects the last of them
// when more is removed than put, so the last one always waits.
class Precompiled::Pass {
 public:
  Pass(const Precompiled& owner, AlignedText& text)
      : charsmap_(owner.charsmap_),
        keeps_printable_(owner.keeps_printable_),
        text_(text),
        bytes_(text.bytes()) {}

  void run() {
    size_t at = 0;
    while (at < bytes_.size()) {
      if (keeps_printable_) {
        const size_t end = skip_printable(bytes_, at);
        // The last one may be the base of a mark.
        if (end == bytes_.size()) break;
        if (end > at) at = std::max(at, static_cast<uint8_t>(bytes_[end]) < 0x80 ? end : end - 1);
      }
      at = is_plain_ideograph(at) ? at + 3 : cluster(at);
    }
    if (!out_) return;
    keep(bytes_.size());
    flush();
    out_->finish();
  }

 private:
  // An ideograph from U+4000 to U+9FFF without entries, before another or before ASCII: alone in its cluster.
  bool is_plain_ideograph(size_t at) const {
    const auto is_ideograph = [](uint8_t lead) { return lead >= 0xE4 && lead <= 0xE9; };
    const auto lead = static_cast<uint8_t>(bytes_[at]);
    if (!is_ideograph(lead) || charsmap_.begins(lead)) return false;
    const auto next = at + 3 < bytes_.size() ? static_cast<uint8_t>(bytes_[at + 3]) : 0;
    return next < 0x80 || is_ideograph(next);
  }

  // Treats the cluster at `begin`; returns its end.
  size_t cluster(size_t begin) {
    const size_t length = utf8_length(bytes_[begin]);
    const size_t next = begin + length;
    size_t end = next;
    if (next < bytes_.size() && !parts_at(begin, next)) end = grapheme_end(bytes_, begin);
    if (end - begin < 6) {
      if (const auto found = find(begin, end)) {
        replace(begin, end, *found);
        return end;
      }
      if (end == next) return end;
    }
    for (size_t at = begin; at < end;) {
      const size_t part_end = at + utf8_length(bytes_[at]);
      if (const auto found = find(at, part_end)) replace(at, part_end, *found);
      at = part_end;
    }
    return end;
  }

  // A quick answer to whether a cluster ends between two characters; false: perhaps not.
  bool parts_at(size_t begin, size_t next) const {
    const auto grapheme_at = [&](size_t at) {
      return form_info(utf8_decode(bytes_.data() + at, utf8_length(bytes_[at]))).grapheme;
    };
    const auto second = static_cast<uint8_t>(bytes_[next]);
    if (second < 0x80) return bytes_[begin] != '\r' && !(grapheme_at(begin) == Grapheme::kPrepend);
    return stands_alone(grapheme_at(next)) && !is_hangul(next) && grapheme_at(begin) != Grapheme::kPrepend;
  }
  bool is_hangul(size_t at) const {
    const auto lead = static_cast<uint8_t>(bytes_[at]);
    return lead >= 0xEA && lead <= 0xED;
  }

  std::optional<std::string_view> find(size_t begin, size_t end) const {
    if (!charsmap_.begins(static_cast<uint8_t>(bytes_[begin]))) return std::nullopt;
    return charsmap_.look_up(bytes_.substr(begin, end - begin));
  }

  // [begin, end) becomes new_bytes.
  void replace(size_t begin, size_t end, std::string_view new_bytes) {
    const bool is_same = new_bytes == bytes_.substr(begin, end - begin);
    if (is_same && !out_) return;
    if (!out_) out_.emplace(text_);
    keep(begin);
    const auto count = [](std::string_view bytes) {
      return static_cast<int>(
          std::count_if(bytes.begin(), bytes.end(), [](char c) { return (c & 0xC0) != 0x80; }));
    };
    const int old_count = count(bytes_.substr(begin, end - begin));
    const int new_count = count(new_bytes);
    int number = 0;
    for (size_t at = 0; at < new_bytes.size(); ++number) {
      const size_t length = utf8_length(new_bytes[at]);
      put(utf8_decode(new_bytes.data() + at, length), number < old_count ? 0 : 1);
      at += length;
    }
    if (new_count < old_count && is_waiting_) change_ += new_count - old_count;
    done_ = end;
  }

  // Passes over what has no entry, up to `end`.
  void keep(size_t end) {
    if (done_ == end) return;
    flush();
    if (out_->cursor() == done_) {
      // All but the last character, which waits.
      const size_t last = utf8_begin(bytes_, end - 1);
      out_->keep_to(last);
      done_ = last;
    }
    while (done_ < end) {  // counted wrong before: so is this
      const size_t length = utf8_length(bytes_[done_]);
      put(utf8_decode(bytes_.data() + done_, length), 0);
      done_ += length;
    }
  }

  void put(char32_t c, int change) {
    flush();
    waiting_ = c;
    change_ = change;
    is_waiting_ = true;
  }
  void flush() {
    if (is_waiting_) out_->put(waiting_, change_);
    is_waiting_ = false;
  }

  const Charsmap& charsmap_;
  const bool keeps_printable_;
  AlignedText& text_;
  const std::string_view bytes_;
  std::optional<PairedRewrite> out_;  // made by the first change
  size_t done_ = 0;                   // what the reference has listed so far
  char32_t waiting_ = 0;
  int change_ = 0;
  bool is_waiting_ = false;
};

Precompiled::Precompiled(Charsmap charsmap) : charsmap_(std::move(charsmap)) {
  keeps_printable_ = true;
  for (char c = 0x20; c < 0x7F; ++c)
    keeps_printable_ = keeps_printable_ && !charsmap_.look_up(std::string_view(&c, 1));
}

void Precompiled::apply(AlignedText& text) const { Pass(*this, text).run(); }

}  // namespace headrace
