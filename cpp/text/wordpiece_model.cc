#include "text/wordpiece_model.h"

#include <array>

namespace headrace {
namespace {

constexpr std::array<uint8_t, 256> kSameBytes = [] {
  std::array<uint8_t, 256> map{};
  for (size_t i = 0; i < map.size(); ++i) map[i] = static_cast<uint8_t>(i);
  return map;
}();

}  // namespace

// A token covers more bytes at the beginning of a word than behind it, so none has a length of its own.
WordPieceModel::WordPieceModel(const Vocabulary& vocabulary, WordPiece::Config config)
    : words_(vocabulary, std::move(config)) {
  token_bytes_.assign(static_cast<size_t>(vocabulary.size()), 0);
}

void WordPieceModel::encode_piece(std::string_view piece, bool with_spans, Work& work) const {
  work.ids.resize(words_.max_ids(piece.size()));
  const size_t count = words_.look_up(piece, kSameBytes.data(), work.ids.data());
  work.ids.resize(count);
  work.spans.clear();
  if (!with_spans) return;
  const auto size = static_cast<uint32_t>(piece.size());
  uint32_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto bytes = static_cast<uint32_t>(words_.piece_bytes(work.ids[i], i == 0));
    const uint32_t end = count == 1 ? size : at + bytes;
    work.spans.push_back({at, end});
    at = end;
  }
}

}  // namespace headrace
