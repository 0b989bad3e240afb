#include "text/normalize_replace.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "text/ascii_run.h"

namespace headrace {
namespace {

size_t count_byte(std::string_view text, char byte) {
  size_t count = 0;
  size_t at = 0;
#if defined(__SSE2__)
  __m128i counts = _mm_setzero_si128();
  for (; text.size() - at >= 16; at += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    const __m128i found = _mm_and_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8(byte)), _mm_set1_epi8(1));
    counts = _mm_add_epi64(counts, _mm_sad_epu8(found, _mm_setzero_si128()));
  }
  uint64_t halves[2];
  std::memcpy(halves, &counts, sizeof halves);
  count = static_cast<size_t>(halves[0] + halves[1]);
#endif
  for (; at < text.size(); ++at) count += text[at] == byte;
  return count;
}

// Writes a text in which one byte becomes a few: the loop that turns spaces into U+2581, which every text of
// a SentencePiece model goes through. The output has room for exactly that.
class ByteReplacer {
 public:
  // origins may be null; old_origins go with bytes.
  ByteReplacer(std::string_view bytes, const int32_t* old_origins, char from, std::string_view to,
               char* write, int32_t* origins)
      : bytes_(bytes), old_origins_(old_origins), from_(from), to_(to), write_(write), origins_(origins) {
    std::memcpy(&to_word_, to.data(), std::min(to.size(), sizeof to_word_));
  }

  void run(size_t begin) {
    size_t at = begin;
#if defined(__SSE2__)
    // Stores of whole blocks go beyond what they mean. As long as 16 more bytes are to be read and none of
    // them becomes nothing, they stay within the output.
    if (!to_.empty() && to_.size() <= sizeof to_word_) at = origins_ ? blocks<true>(at) : blocks<false>(at);
#endif
    size_t done = at;
    for (; at < bytes_.size(); ++at) {
      if (bytes_[at] != from_) continue;
      copy(done, at);
      std::memcpy(write_, to_.data(), to_.size());
      write_ += to_.size();
      if (origins_) origins_ = std::fill_n(origins_, to_.size(), old_origins_[at]);
      done = at + 1;
    }
    copy(done, bytes_.size());
  }

 private:
  void copy(size_t begin, size_t end) {
    if (begin == end) return;
    std::memcpy(write_, bytes_.data() + begin, end - begin);
    write_ += end - begin;
    if (!origins_) return;
    std::memcpy(origins_, old_origins_ + begin, (end - begin) * sizeof *origins_);
    origins_ += end - begin;
  }

#if defined(__SSE2__)
  // Replaces in whole blocks from `at` on while it can; returns where it stopped.
  template <bool kOrigins>
  size_t blocks(size_t at) {
    // Locals: stores through char* might change members.
    char* write = write_;
    int32_t* origins = origins_;
    const uint64_t to_word = to_word_;
    const size_t to_size = to_.size();
    const std::string_view bytes = bytes_;
    const __m128i wanted = _mm_set1_epi8(from_);
    for (; bytes.size() - at >= 32; at += 16) {
      const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + at));
      auto mask = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(block, wanted)));
      size_t done = at;
      const auto copy_to = [&](size_t end) {
        std::memcpy(write, bytes.data() + done, 16);
        write += end - done;
        if (!kOrigins) return;
        std::memcpy(origins, old_origins_ + done, 16 * sizeof *origins);
        origins += end - done;
      };
      for (; mask != 0; mask &= mask - 1) {
        const size_t found = at + static_cast<size_t>(std::countr_zero(mask));
        copy_to(found);
        std::memcpy(write, &to_word, sizeof to_word);
        write += to_size;
        if (kOrigins) {
          std::fill_n(origins, sizeof to_word, old_origins_[found]);
          origins += to_size;
        }
        done = found + 1;
      }
      copy_to(at + 16);
    }
    write_ = write;
    origins_ = origins;
    return at;
  }
#endif

  const std::string_view bytes_;
  const int32_t* const old_origins_;
  const char from_;
  const std::string_view to_;
  uint64_t to_word_ = 0;
  char* write_;
  int32_t* origins_;
};

void replace_byte(AlignedText& text, char from, std::string_view to) {
  const std::string_view bytes = text.bytes();
  if (bytes.find(from) == std::string_view::npos) return;
  AlignedText::Rewrite out(text);
  size_t done = 0;
  for (; done < text.first_bytes(); ++done) {
    if (bytes[done] == from) {
      out.put(to, done);
    } else {
      out.keep(done, done + 1);
    }
  }
  const size_t count = count_byte(bytes.substr(done), from);
  int32_t* origins = nullptr;
  char* const write = out.extend(bytes.size() - done - count + count * to.size(), &origins);
  ByteReplacer(bytes, text.origins().data(), from, to, write, origins).run(done);
  out.finish();
}

}  // namespace

Pattern Pattern::regex(std::string_view pattern) {
  Pattern result;
  result.regex_.emplace(pattern);
  return result;
}

Pattern Pattern::literal(std::string_view text) {
  Pattern result;
  result.text_ = text;
  return result;
}

bool Pattern::find(std::string_view text, size_t from, size_t* begin, size_t* end) const {
  if (regex_) return regex_->find(text, from, begin, end);
  *begin = text.find(text_, from);
  *end = *begin + text_.size();
  return *begin != std::string_view::npos;
}

bool Pattern::Matches::next(size_t* begin, size_t* end) {
  while (from_ <= text_.size() && !text_.empty()) {
    if (!pattern_.find(text_, from_, begin, end)) break;
    if (*begin == *end && *end == last_end_) {
      from_ += from_ < text_.size() ? utf8_length(text_[from_]) : 1;
      continue;
    }
    from_ = last_end_ = *end;
    return true;
  }
  from_ = text_.size() + 1;
  return false;
}

void Replace::apply(AlignedText& text) const {
  if (pattern_.only_byte() >= 0) return replace_byte(text, static_cast<char>(pattern_.only_byte()), content_);
  const std::string_view bytes = text.bytes();
  Pattern::Matches matches(pattern_, bytes);
  size_t begin, end;
  if (!matches.next(&begin, &end)) return;
  AlignedText::Rewrite out(text);
  size_t done = 0;
  do {
    out.keep(done, begin);
    done = end;
    if (end == 0) {
      out.put_unplaced(content_);
    } else {
      out.put(content_, utf8_begin(bytes, end - 1));
    }
  } while (matches.next(&begin, &end));
  out.keep(done, bytes.size());
  out.finish();
}

void Prepend::apply(AlignedText& text) const {
  const std::string_view bytes = text.bytes();
  if (bytes.empty()) return;
  AlignedText::Rewrite out(text);
  const size_t first = utf8_length(bytes[0]);
  if (content_.empty()) {
    out.put_unplaced(bytes.substr(0, first));  // the reference loses the first character's place here
  } else {
    out.put(content_, 0);
    out.keep(0, first);
  }
  out.keep(first, bytes.size());
  out.finish();
}

}  // namespace headrace
