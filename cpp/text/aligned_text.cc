#include "text/aligned_text.h"

#include <algorithm>

#include "base/utf8.h"

namespace headrace {

void AlignedText::assign(std::string_view text, bool tracked, int32_t first_character) {
  bytes_ = text;
  tracked_ = tracked;
  first_bytes_ = 0;
  if (first_character == 0 && !text.empty())
    while (++first_bytes_ < text.size() && (static_cast<uint8_t>(text[first_bytes_]) & 0xC0) == 0x80) {
    }
  own_origins_.clear();
  if (tracked) {
    own_origins_.reserve(text.size());
    int32_t character = first_character - 1;
    for (const char c : text) {
      character += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
      own_origins_.push_back(character);
    }
  }
  origins_ = own_origins_;
}

void AlignedText::assign_part(const AlignedText& whole, size_t begin, size_t end) {
  bytes_ = whole.bytes_.substr(begin, end - begin);
  tracked_ = whole.tracked_;
  first_bytes_ = std::min(end, whole.first_bytes_) - std::min(begin, whole.first_bytes_);
  origins_ = tracked_ ? whole.origins_.subspan(begin, end - begin) : std::span<const int32_t>();
}

AlignedText::Rewrite::Rewrite(AlignedText& text) : text_(text) {
  text_.spare_bytes_.clear();
  text_.spare_origins_.clear();
  text_.spare_bytes_.reserve(text_.bytes_.size() + text_.bytes_.size() / 8 + 16);
}

void AlignedText::Rewrite::put(char32_t character, size_t source) {
  const size_t before = size();
  utf8_append(character, text_.spare_bytes_);
  if (counts_first_) count_first(source, source + 1, size() - before);
  if (text_.tracked_) text_.spare_origins_.resize(text_.spare_bytes_.size(), text_.origins_[source]);
}

void AlignedText::Rewrite::put_unplaced(std::string_view bytes) {
  if (counts_first_)
    count_first(0, 1, bytes.size());  // what is put before a text begins where the text begins
  text_.spare_bytes_.append(bytes);
  if (text_.tracked_) text_.spare_origins_.resize(text_.spare_bytes_.size(), kNoOrigin);
}

char* AlignedText::Rewrite::extend(size_t num_bytes, int32_t** origins) {
  counts_first_ = false;
  const size_t before = size();
  text_.spare_bytes_.resize(before + num_bytes);
  if (text_.tracked_) text_.spare_origins_.resize(before + num_bytes);
  *origins = text_.tracked_ ? text_.spare_origins_.data() + before : nullptr;
  return text_.spare_bytes_.data() + before;
}

void AlignedText::Rewrite::finish() {
  text_.own_bytes_.swap(text_.spare_bytes_);
  text_.own_origins_.swap(text_.spare_origins_);
  text_.bytes_ = text_.own_bytes_;
  text_.origins_ = text_.own_origins_;
  text_.first_bytes_ = num_first_;
}

}  // namespace headrace
