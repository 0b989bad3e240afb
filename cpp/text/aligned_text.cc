#include "text/aligned_text.h"

#include "base/utf8.h"

namespace headrace {

void AlignedText::assign(std::string_view text, bool tracked, int32_t first_character) {
  bytes_ = text;
  tracked_ = tracked;
  begins_original_ = first_character == 0;
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
  begins_original_ = whole.begins_original_ && begin == 0;
  origins_ = tracked_ ? whole.origins_.subspan(begin, end - begin) : std::span<const int32_t>();
}

AlignedText::Rewrite::Rewrite(AlignedText& text) : text_(text) {
  text_.spare_bytes_.clear();
  text_.spare_origins_.clear();
  text_.spare_bytes_.reserve(text_.bytes_.size() + text_.bytes_.size() / 8 + 16);
}

void AlignedText::Rewrite::put(char32_t character, size_t source) {
  note_first(source);
  utf8_append(character, text_.spare_bytes_);
  if (text_.tracked_) text_.spare_origins_.resize(text_.spare_bytes_.size(), text_.origins_[source]);
}

void AlignedText::Rewrite::put_unplaced(std::string_view bytes) {
  note_first(0);  // what was put before a text begins where the text begins
  text_.spare_bytes_.append(bytes);
  if (text_.tracked_) text_.spare_origins_.resize(text_.spare_bytes_.size(), kNoOrigin);
}

char* AlignedText::Rewrite::extend(size_t num_bytes, size_t first_source, int32_t** origins) {
  if (num_bytes > 0) note_first(first_source);
  const size_t size = text_.spare_bytes_.size();
  text_.spare_bytes_.resize(size + num_bytes);
  if (text_.tracked_) text_.spare_origins_.resize(size + num_bytes);
  *origins = text_.tracked_ ? text_.spare_origins_.data() + size : nullptr;
  return text_.spare_bytes_.data() + size;
}

void AlignedText::Rewrite::finish() {
  text_.own_bytes_.swap(text_.spare_bytes_);
  text_.own_origins_.swap(text_.spare_origins_);
  text_.bytes_ = text_.own_bytes_;
  text_.origins_ = text_.own_origins_;
  text_.begins_original_ = begins_original_;
}

}  // namespace headrace
