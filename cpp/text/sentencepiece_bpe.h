// SentencePiece's BPE as SentencePiece itself computes it (bpe_model.cc there; bpe.h is the model of a
// tokenizer.json): any two neighbours merge whose text together is a token, whether or not they are tokens
// themselves, the one of the highest score first and of equal scores the leftmost.
//
// User-defined tokens are found first and never merge. A token marked unused may come to be, and is taken
// apart again in the end.
#pragma once

#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/bpe_cuts.h"
#include "text/byte_trie.h"
#include "text/cached_model.h"
#include "text/char_ids.h"
#include "text/sentencepiece_pieces.h"

namespace headrace {

class SentencePieceBpe : public CachedModel {
 public:
  // Throws Error(kUnsupported) as ByteTrie does.
  explicit SentencePieceBpe(SentencePieces pieces);

  std::unique_ptr<Scratch> make_scratch() const override { return std::make_unique<BpeWork>(); }
  bool spells_unknown(int32_t id) const override { return id == pieces_.unk_id(); }
  const char* kind() const override { return "BPE"; }

 private:
  struct Symbol {
    Piece span;
    int32_t node;      // of the trie, where the symbol's text leads; -1: no token begins with it
    int32_t previous;  // -1: none
    int32_t next;
    bool is_frozen;

    uint32_t size() const { return span.end - span.begin; }
  };
  struct Merge {
    int32_t rank;
    int32_t left;
    int32_t right;
    int32_t node;   // of what they make
    uint32_t size;  // of both, to know a merge that came too late

    bool operator<(const Merge& other) const {  // for a heap: the best is the largest
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  struct BpeWork : Work {
    std::vector<Symbol> symbols;
    std::vector<Merge> heap;
    std::unordered_map<std::string_view, std::pair<Piece, Piece>> unused;  // what it was last seen made of
  };

  void encode_piece(std::string_view piece, bool with_spans, Work& work) const override;
  void cut(std::string_view text, Piece piece, std::vector<Piece>& parts) const override {
    cuts_.cut(text, piece, char_ids_, parts);
  }
  void learn_cuts();
  void split(std::string_view text, BpeWork& work) const;
  void offer(std::string_view text, int32_t left, int32_t right, BpeWork& work) const;
  void merge_all(std::string_view text, BpeWork& work) const;
  void put(std::string_view text, Piece span, int depth, BpeWork& work) const;
  // Where text leads from a node of the trie; -1: nowhere.
  int32_t walk(int32_t node, std::string_view text) const;
  int32_t id_at(int32_t node) const { return node < 0 ? -1 : trie_.nodes()[node].value; }

  SentencePieces pieces_;
  std::vector<int32_t> ranks_;  // by id; equal for equal scores
  ByteTrie trie_;               // value: id; of what text may become
  ByteTrie user_defined_;
  CharIds char_ids_;
  BpeCuts cuts_;
};

}  // namespace headrace
