// The tokens of a SentencePiece model, and what its two algorithms share.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/scored_pieces.h"
#include "text/stages.h"
#include "text/vocabulary.h"

namespace headrace {

class SentencePieces {
 public:
  // vocabulary: the pieces' texts; pieces: by id, their texts being the vocabulary's. Throws
  // Error(kCorruptFile) when there is not one unknown token, or with byte_fallback a byte has no token.
  SentencePieces(const Vocabulary& vocabulary, std::vector<ScoredPiece> pieces, bool byte_fallback);

  const ScoredPiece& operator[](int32_t id) const { return pieces_[static_cast<size_t>(id)]; }
  int32_t size() const { return static_cast<int32_t>(pieces_.size()); }
  int32_t unk_id() const { return unk_id_; }

  // Whether text may become the token: the others stand for no text.
  static bool is_text(const ScoredPiece& piece) {
    return piece.type == ScoredPiece::kNormal || piece.type == ScoredPiece::kUserDefined ||
           piece.type == ScoredPiece::kUnused;
  }

  // Appends the unknown text of `span`: its bytes' tokens, or one unknown token that grows when more follow.
  void put_unknown(std::string_view text, Piece span, std::vector<int32_t>& ids,
                   std::vector<Piece>& spans) const;

 private:
  std::vector<ScoredPiece> pieces_;
  int32_t unk_id_ = -1;
  bool byte_fallback_;
  std::array<int32_t, 256> byte_ids_{};
};

}  // namespace headrace
