// The pipeline of BERT's tokenizers, in one pass: normalizing, splitting and looking up go word by word, and
// plain ASCII words are looked up where they stand.
#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "text/added_tokens.h"
#include "text/normalize.h"
#include "text/pipeline.h"
#include "text/vocabulary.h"
#include "text/wordpiece.h"

namespace headrace {

class BertPipeline : public Pipeline {
 public:
  // split_words: BertPreTokenizer; else a stretch of text is one word. vocabulary outlives this.
  BertPipeline(AddedTokens raw_added, AddedTokens normalized_added, BertNormalizer normalizer,
               bool split_words, WordPiece model, const Vocabulary& vocabulary);

  std::unique_ptr<Pipeline::Scratch> make_scratch() const override;
  void run(std::string_view text, const SpecialsAllowed& specials, Pipeline::Scratch& scratch,
           Encoding* encoding) const override;
  const char* kind() const override { return "WordPiece"; }

 private:
  struct Scratch;
  template <bool kOffsets>
  class Run;

  AddedTokens raw_added_;         // found in the text as given
  AddedTokens normalized_added_;  // found in the normalized text
  BertNormalizer normalizer_;
  bool split_words_;
  WordPiece model_;
  const Vocabulary& vocabulary_;
  std::array<int32_t, 128> ascii_ids_;  // by ASCII character: the id of the word that is only it
};

}  // namespace headrace
