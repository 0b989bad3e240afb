// Text on its way through a tokenizer, and for each of its bytes the character of the original it stems from.
//
// As long as nothing rewrites it, it refers to the caller's bytes and copies nothing. Origins are kept only
// when asked for: they are what offsets are made of. Normalizers and some pre-tokenizers rewrite it:
//
//   AlignedText::Rewrite out(text);
//   out.keep(0, 5);            // five bytes as they are
//   out.put("ss", 5);          // two new ones that stem from whatever byte 5 stems from
//   out.finish();              // now text.bytes() is the new text
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

// A stretch of a text, in bytes: [begin, end).
struct Piece {
  uint32_t begin;
  uint32_t end;

  bool operator==(const Piece&) const = default;
};

class AlignedText {
 public:
  class Rewrite;

  // The origin of a byte that stems from no character; its offsets are (0, 0).
  static constexpr int32_t kNoOrigin = -1;

  // Refers to text, well-formed UTF-8 of at most 2^31 - 1 bytes, which must outlive this. first_character:
  // its first character's number in the original; counted from there when origins are tracked.
  void assign(std::string_view text, bool tracked, int32_t first_character);

  // Becomes a part of another, which must outlive this and stay as it is.
  void assign_part(const AlignedText& whole, size_t begin, size_t end);

  std::string_view bytes() const { return bytes_; }
  bool tracked() const { return tracked_; }
  // For each byte, the number of the original's character that it stems from; empty unless tracked.
  std::span<const int32_t> origins() const { return origins_; }
  // Whether the first byte stems from the first character of the original; known without tracking.
  bool begins_original() const { return first_bytes_ > 0; }
  // How many bytes do, from the first one on.
  size_t first_bytes() const { return first_bytes_; }
  // Memory held for rewriting.
  size_t own_bytes() const { return own_bytes_.capacity() + spare_bytes_.capacity(); }

 private:
  std::string_view bytes_;
  std::span<const int32_t> origins_;
  bool tracked_ = false;
  size_t first_bytes_ = 0;
  // Where bytes_ and origins_ point once they are this object's own; the spares are what Rewrite fills.
  std::string own_bytes_, spare_bytes_;
  std::vector<int32_t> own_origins_, spare_origins_;
};

// The next state of an AlignedText, which stays as it is until finish(). One at a time.
class AlignedText::Rewrite {
 public:
  explicit Rewrite(AlignedText& text);

  // Appends bytes [begin, end) of the text as they are.
  void keep(size_t begin, size_t end) {
    if (counts_first_) count_first(begin, end, end - begin);
    text_.spare_bytes_.append(text_.bytes_.substr(begin, end - begin));
    if (text_.tracked_)
      text_.spare_origins_.insert(text_.spare_origins_.end(),
                                  text_.origins_.begin() + static_cast<ptrdiff_t>(begin),
                                  text_.origins_.begin() + static_cast<ptrdiff_t>(end));
  }
  // Appends new bytes that stem from where byte `source` of the text stems from.
  void put(std::string_view bytes, size_t source) {
    if (counts_first_) count_first(source, source + 1, bytes.size());
    text_.spare_bytes_.append(bytes);
    if (text_.tracked_) text_.spare_origins_.resize(text_.spare_bytes_.size(), text_.origins_[source]);
  }
  void put(char32_t character, size_t source);
  // Appends new bytes that stem from nothing.
  void put_unplaced(std::string_view bytes);

  // For a stage whose loop is worth writing by hand: room for num_bytes more, all of which it must write, and
  // *origins, null unless tracked, along with them. None of them may stem from the first_bytes() of the text.
  // The pointers hold until the next call.
  char* extend(size_t num_bytes, int32_t** origins);

  size_t size() const { return text_.spare_bytes_.size(); }
  void finish();

 private:
  // num_bytes new bytes stem from bytes [begin, end) of the text: does the text still begin with them?
  void count_first(size_t begin, size_t end, size_t num_bytes) {
    const size_t first = text_.first_bytes_;
    num_first_ += end <= first ? num_bytes : begin < first ? first - begin : 0;
    counts_first_ = end <= first;
  }

  AlignedText& text_;
  size_t num_first_ = 0;      // of the new bytes, as first_bytes
  bool counts_first_ = true;  // all of them so far
};

}  // namespace headrace
