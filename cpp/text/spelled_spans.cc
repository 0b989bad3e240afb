#include "text/spelled_spans.h"

#include <algorithm>

#include "text/byte_spelling.h"

namespace headrace {

void place_as_spelled(std::string_view piece, const std::array<int32_t, 256>& byte_ids,
                      std::vector<Piece>& spans) {
  const auto is_known = [&](char c) { return byte_ids[static_cast<uint8_t>(c)] >= 0; };
  if (std::all_of(piece.begin(), piece.end(), is_known)) return;
  std::vector<uint32_t> origins;     // by byte of the spelled piece: the byte of the piece
  std::vector<uint32_t> ends = {0};  // by byte that is left: where its spelling ends if nothing else is there
  for (size_t i = 0; i < piece.size(); ++i) {
    const uint32_t length = byte_spelling(static_cast<uint8_t>(piece[i])) < 0x80 ? 1 : 2;
    origins.insert(origins.end(), length, static_cast<uint32_t>(i));
    if (is_known(piece[i])) ends.push_back(ends.back() + length);
  }
  for (Piece& span : spans) span = {origins[ends[span.begin]], origins[ends[span.end] - 1] + 1};
}

}  // namespace headrace
