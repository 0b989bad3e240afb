// The pipeline of any tokenizer.json: its stages one after the other, each on what the one before it left.
#pragma once

#include <memory>
#include <string_view>

#include "text/added_tokens.h"
#include "text/pipeline.h"
#include "text/stages.h"
#include "text/vocabulary.h"

namespace headrace {

class StagedPipeline : public Pipeline {
 public:
  // normalizer and pre_tokenizer may be null: nothing is changed, a stretch of text is one piece.
  // vocabulary outlives this.
  StagedPipeline(AddedTokens raw_added, AddedTokens normalized_added, std::unique_ptr<Normalizer> normalizer,
                 std::unique_ptr<PreTokenizer> pre_tokenizer, std::unique_ptr<SubwordModel> model,
                 const Vocabulary& vocabulary);

  std::unique_ptr<Pipeline::Scratch> make_scratch() const override;
  void run(std::string_view text, const SpecialsAllowed& specials, Pipeline::Scratch& scratch,
           Encoding* encoding) const override;
  const char* kind() const override { return model_->kind(); }

 private:
  struct Scratch;
  class Run;

  AddedTokens raw_added_;         // found in the text as given
  AddedTokens normalized_added_;  // found in the normalized text
  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<SubwordModel> model_;
  const Vocabulary& vocabulary_;
};

}  // namespace headrace
