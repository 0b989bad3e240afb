#include "text/sentencepiece_pieces.h"

#include <string>

#include "base/error.h"

namespace headrace {

SentencePieces::SentencePieces(const Vocabulary& vocabulary, std::vector<ScoredPiece> pieces,
                               bool byte_fallback)
    : pieces_(std::move(pieces)), byte_fallback_(byte_fallback) {
  for (size_t id = 0; id < pieces_.size(); ++id) {
    if (pieces_[id].type != ScoredPiece::kUnknown) continue;
    if (unk_id_ >= 0) throw Error(ErrorKind::kCorruptFile, "a SentencePiece model has two unknown tokens");
    unk_id_ = static_cast<int32_t>(id);
  }
  if (unk_id_ < 0) throw Error(ErrorKind::kCorruptFile, "a SentencePiece model has no unknown token");
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string name = "<0x00>";
  for (size_t byte = 0; byte < 256 && byte_fallback; ++byte) {
    name[3] = kHex[byte >> 4];
    name[4] = kHex[byte & 15];
    byte_ids_[byte] = vocabulary.find(name);
    if (byte_ids_[byte] < 0)
      throw Error(ErrorKind::kCorruptFile,
                  concat("a SentencePiece model with byte_fallback has no token ", name));
  }
}

void SentencePieces::put_unknown(std::string_view text, Piece span, std::vector<int32_t>& ids,
                                 std::vector<Piece>& spans) const {
  if (byte_fallback_) {
    for (const char c : text.substr(span.begin, span.end - span.begin)) {
      ids.push_back(byte_ids_[static_cast<uint8_t>(c)]);
      spans.push_back(span);
    }
  } else if (!ids.empty() && ids.back() == unk_id_) {
    spans.back().end = span.end;
  } else {
    ids.push_back(unk_id_);
    spans.push_back(span);
  }
}

}  // namespace headrace
