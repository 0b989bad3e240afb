#include "text/normalize_replace.h"

#include <algorithm>
#include <cstring>

#include "text/ascii_run.h"

namespace headrace {
namespace {

size_t count_byte(std::string_view text, char byte) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), byte));
}

// One byte becomes a few: the loop that turns spaces into U+2581, which every text of a SentencePiece model
// goes through.
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
  char* write = out.extend(bytes.size() - done - count + count * to.size(), &origins);
  const int32_t* old_origins = text.origins().data();
  const auto copy = [&](size_t begin, size_t end) {
    std::memcpy(write, bytes.data() + begin, end - begin);
    write += end - begin;
    if (!origins) return;
    std::memcpy(origins, old_origins + begin, (end - begin) * sizeof *origins);
    origins += end - begin;
  };
  const auto put = [&](size_t at) {
    copy(done, at);
    std::memcpy(write, to.data(), to.size());
    write += to.size();
    if (origins) origins = std::fill_n(origins, to.size(), old_origins[at]);
    done = at + 1;
  };
  size_t at = done;
#if defined(__SSE2__)
  const __m128i wanted = _mm_set1_epi8(from);
  for (; bytes.size() - at >= 16; at += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + at));
    auto mask = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(block, wanted)));
    for (; mask != 0; mask &= mask - 1) put(at + static_cast<size_t>(std::countr_zero(mask)));
  }
#endif
  for (; at < bytes.size(); ++at)
    if (bytes[at] == from) put(at);
  copy(done, bytes.size());
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
