// WordPiece: a word becomes the longest vocabulary entry that begins it, then the longest entries that
// continue it; a word that cannot be covered becomes the unknown token. (Schuster & Nakajima 2012; Devlin et
// al. 2019.)
//
// Longest match first in linear time, after Song et al. 2021, "Fast WordPiece Tokenization" (LinMaxMatch): a
// trie whose nodes carry failure links. When no child fits, the link names the tokens that are certain by now
// and the node to go on from, so no byte is looked at twice. Two roots: what may begin a word (every token as
// it is spelled), and what may continue one (the tokens that bear the prefix, without it).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/vocabulary.h"

namespace headrace {

class WordPiece {
 public:
  struct Config {
    std::string unk_token = "[UNK]";
    std::string continuing_subword_prefix = "##";
    int64_t max_input_chars_per_word = 100;
  };

  // Throws Error(kCorruptFile) when the vocabulary lacks the unknown token, and Error(kUnsupported) when its
  // tokens are so long that the failure links would need too much memory.
  WordPiece(const Vocabulary& vocabulary, Config config);

  // Writes the ids of one word, each of whose bytes is first replaced by byte_map[byte], and returns their
  // number: at least 1 and at most max_ids(word.size()). Several ids cover the word's bytes one after the
  // other; a single one, be it the unknown token or not, covers all of them. word: UTF-8, not empty.
  size_t look_up(std::string_view word, const uint8_t* byte_map, int32_t* ids) const;

  // A piece covers at least a byte, and longer words than the limit are one unknown token.
  size_t max_ids(size_t word_bytes) const { return std::min(word_bytes, max_ids_); }

  // Bytes of a word that a piece covers.
  size_t piece_bytes(int32_t id, bool begins_word) const {
    const size_t size = piece_bytes_[static_cast<size_t>(id)];
    return begins_word ? size : size - config_.continuing_subword_prefix.size();
  }

  const Config& config() const { return config_; }
  int32_t unk_id() const { return unk_id_; }

 private:
  static constexpr int32_t kBegin = 0;     // root: nothing read yet
  static constexpr int32_t kContinue = 1;  // root: everything read so far is covered

  struct Failure {
    int32_t node;    // where to go on
    uint32_t first;  // the tokens certain by now: pieces_[first ...]
    uint32_t num_pieces;
  };

  void link_failures();
  void link_failure(const ByteTrie::Edge& edge);
  // Follows the link of node, calling emit(id) for the tokens that are certain; false when it has none.
  template <typename Emit>
  bool fail(int32_t& node, Emit&& emit) const;

  Config config_;
  int32_t unk_id_ = 0;
  size_t max_ids_ = 1;
  ByteTrie trie_;  // Node::value: token id, Node::link: index into failures_
  std::vector<Failure> failures_;
  std::vector<int32_t> pieces_;
  std::vector<uint32_t> piece_bytes_;
};

}  // namespace headrace
