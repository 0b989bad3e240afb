#include "text/pre_tokenize_metaspace.h"

#include "text/split_behavior.h"

namespace headrace {

void MetaspaceSplitter::split(AlignedText& text, std::vector<Piece>& pieces) const {
  AlignedText::Rewrite out(text);
  const std::string_view bytes = text.bytes();
  split_each(pieces, [&](Piece piece, std::vector<Piece>& made) {
    const std::string_view part = bytes.substr(piece.begin, piece.end - piece.begin);
    auto begin = static_cast<uint32_t>(out.size());
    const auto end_piece = [&] {
      const auto end = static_cast<uint32_t>(out.size());
      if (begin < end) made.push_back({begin, end});
      begin = end;
    };
    const bool is_wanted = prepend_ == Prepend::kAlways ||
                           (prepend_ == Prepend::kFirst && piece.begin == 0 && text.begins_original());
    if (is_wanted && part[0] != ' ' && !part.starts_with(replacement_)) out.put(replacement_, piece.begin);
    for (size_t at = 0; at < part.size();) {
      const size_t space = std::min(part.find(' ', at), part.size());
      // The text may hold the visible character itself.
      size_t other = splits_ ? part.substr(0, space).find(replacement_, at) : std::string_view::npos;
      const size_t stop = std::min(other, space);
      out.keep(piece.begin + at, piece.begin + stop);
      at = stop;
      if (at == part.size()) break;
      if (splits_) end_piece();
      if (part[at] == ' ') {
        out.put(replacement_, piece.begin + at);
        ++at;
      } else {
        out.keep(piece.begin + at, piece.begin + at + replacement_.size());
        at += replacement_.size();
      }
    }
    end_piece();
  });
  out.finish();
}

}  // namespace headrace
