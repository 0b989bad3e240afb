// WordPiece as one of the models that a tokenizer.json may choose.
#pragma once

#include "text/cached_model.h"
#include "text/wordpiece.h"

namespace headrace {

class WordPieceModel : public CachedModel {
 public:
  // Throws as WordPiece does.
  WordPieceModel(const Vocabulary& vocabulary, WordPiece::Config config);

  const char* kind() const override { return "WordPiece"; }
  const WordPiece& words() const { return words_; }
  // The algorithm alone, out of a model that is no longer needed.
  WordPiece release() && { return std::move(words_); }

 private:
  void encode_piece(std::string_view piece, bool with_spans, Work& work) const override;

  WordPiece words_;
};

}  // namespace headrace
