// Unigram language model (Kudo 2018): of all ways to cut a piece into tokens, the one whose scores
// (logarithms of probabilities) have the largest sum. Viterbi's algorithm over the tokens that a trie finds
// at each character: O(n) for a piece of n bytes and tokens of bounded length.
//
// As the reference does it: scores and sums are doubles, added from the left; of equal sums the one found
// first stays, that is, the one whose last token begins first. A character that is no token by itself may be
// unknown, at 10 less than the lowest score; neighbouring unknown characters are fused.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "text/byte_trie.h"
#include "text/cached_model.h"
#include "text/vocabulary.h"

namespace headrace {

class Unigram : public CachedModel {
 public:
  struct Config {
    std::optional<int32_t> unk_id;  // of the vocabulary
    bool byte_fallback = false;     // unknown characters become their bytes' tokens "<0x00>" if there are all
  };

  // scores: by id, of the whole vocabulary; none is NaN. A token with several ids has its last one's. Throws
  // Error(kUnsupported) as ByteTrie does.
  Unigram(const Vocabulary& vocabulary, std::vector<double> scores, Config config);

  std::unique_ptr<Scratch> make_scratch() const override { return std::make_unique<UnigramWork>(); }
  bool spells_unknown(int32_t id) const override { return config_.unk_id && id == *config_.unk_id; }
  const char* kind() const override { return "Unigram"; }

 private:
  // The best way to cut the text up to here.
  struct Best {
    double score;
    int32_t id;      // of its last token; kNone: no way yet
    uint32_t begin;  // where that begins
  };
  struct Token {
    int32_t id;
    uint32_t begin;
    uint32_t end;
  };
  struct UnigramWork : Work {
    std::vector<Best> best;
    std::vector<Token> path;  // from the last to the first
  };
  static constexpr int32_t kNone = -1;

  void encode_piece(std::string_view piece, bool with_spans, Work& work) const override;
  void find_best(std::string_view piece, std::vector<Best>& best) const;
  // Adds the ids of piece[begin, end), whose characters are all unknown.
  void put_unknown(std::string_view piece, uint32_t begin, uint32_t end, Work& work) const;

  Config config_;
  ByteTrie trie_;  // value: id
  std::vector<double> scores_;
  double unk_score_;
  std::array<int32_t, 256> fallback_ids_;  // -1: none
};

}  // namespace headrace
