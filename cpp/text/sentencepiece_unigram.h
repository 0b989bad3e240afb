// SentencePiece's unigram model as SentencePiece itself computes it (unigram_model.cc, EncodeOptimized,
// there; unigram.h is the model of a tokenizer.json).
//
// Sums are floats over the whole text, so that which of two nearly equal ways wins depends on all that stands
// before: texts are not cut into words and nothing is cached. A sum beyond 100,000 is taken off all sums that
// are still open, as the reference does since its version 0.2.2.
#pragma once

#include <memory>
#include <vector>

#include "text/byte_trie.h"
#include "text/sentencepiece_pieces.h"
#include "text/stages.h"

namespace headrace {

class SentencePieceUnigram : public SubwordModel {
 public:
  // Throws Error(kUnsupported) as ByteTrie does.
  explicit SentencePieceUnigram(SentencePieces pieces);

  std::unique_ptr<Scratch> make_scratch() const override { return std::make_unique<Work>(); }
  void encode(std::string_view text, std::span<const Piece> pieces, Scratch& scratch, IdBuffer& ids,
              std::vector<Piece>* spans) const override;
  bool spells_unknown(int32_t id) const override { return id == pieces_.unk_id(); }
  const char* kind() const override { return "Unigram"; }

 private:
  // The best way to cut the text up to here.
  struct Best {
    float score;
    int32_t id;      // of its last token; kNone: no way yet
    uint32_t begin;  // where that begins
  };
  struct Token {
    int32_t id;
    Piece span;
  };
  struct Work : Scratch {
    std::vector<Best> best;
    std::vector<Token> path;  // from the last to the first
    std::vector<int32_t> ids;
    std::vector<Piece> spans;
  };
  static constexpr int32_t kNone = -1;

  void find_best(std::string_view text, std::vector<Best>& best) const;

  SentencePieces pieces_;
  ByteTrie trie_;              // value: id
  std::vector<float> scores_;  // by id
  float unk_score_;
};

}  // namespace headrace
