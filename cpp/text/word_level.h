// Whole pieces are tokens: one that the vocabulary lacks is the unknown token.
#pragma once

#include <string>

#include "text/stages.h"
#include "text/vocabulary.h"

namespace headrace {

class WordLevel : public SubwordModel {
 public:
  WordLevel(const Vocabulary& vocabulary, std::string unk_token);

  std::unique_ptr<Scratch> make_scratch() const override { return std::make_unique<Scratch>(); }
  // Throws Error(kInvalidArgument) for an unknown piece when the vocabulary lacks the unknown token, too.
  void encode(std::string_view text, std::span<const Piece> pieces, Scratch& scratch, IdBuffer& ids,
              std::vector<Piece>* spans) const override;
  const char* kind() const override { return "WordLevel"; }

 private:
  Vocabulary tokens_;
  std::string unk_token_;
  int32_t unk_id_;  // negative: none
};

}  // namespace headrace
