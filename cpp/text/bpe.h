// Byte pair encoding (Sennrich et al. 2016), as the reference does it, of characters or of bytes.
//
// A piece's first symbols are its characters, or its bytes when the tokenizer is byte-level; merge_symbols
// joins them. Characters that the vocabulary lacks become their bytes' tokens "<0x00>" (byte_fallback), or
// the unknown token, or nothing when there is none.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "text/bpe_cuts.h"
#include "text/bpe_forward.h"
#include "text/bpe_merge.h"
#include "text/cached_model.h"
#include "text/char_ids.h"
#include "text/merge_table.h"
#include "text/vocabulary.h"

namespace headrace {

class Bpe : public CachedModel {
 public:
  struct Config {
    // Pieces are raw bytes, and the vocabulary's strings are spelled in GPT-2's byte alphabet.
    bool raw_bytes = false;
    bool ignore_merges = false;  // a piece that is a token is that token, whatever the merges say
    bool fuse_unk = false;       // neighbouring unknown characters are one token
    bool byte_fallback = false;
    std::optional<std::string> unk_token;
    std::string continuing_subword_prefix;  // of a symbol's string, unless it begins the piece
    std::string end_of_word_suffix;         // of a symbol's string that ends the piece
  };

  // merges: by rank; their ids are of the vocabulary. Throws Error(kUnsupported) when there are more tokens
  // or merges than MergeTable takes, or for a byte-level vocabulary that lacks bytes and has byte_fallback.
  Bpe(const Vocabulary& vocabulary, std::span<const MergeTable::Merge> merges, Config config);

  std::unique_ptr<Scratch> make_scratch() const override { return std::make_unique<BpeWork>(); }
  const char* kind() const override { return "BPE"; }

 private:
  struct BpeWork : Work {
    std::vector<Symbol> symbols;
    MergeMemory memory;
  };
  struct Pending;
  enum : int { kFirst = 1, kLast = 2 };  // which places of a piece a symbol is at

  void encode_piece(std::string_view piece, bool with_spans, Work& work) const override;
  void cut(std::string_view text, Piece piece, std::vector<Piece>& parts) const override {
    cuts_.cut(text, piece, char_ids_, parts);
  }

  const MergeTable& all_merges() const;
  size_t encode_short(const PieceCache::Key& key, std::string_view piece, int32_t* ids) const override;
  // The symbols of a piece of a byte-level vocabulary that has all bytes.
  void find_bytes(std::string_view piece, BpeWork& work) const;
  void find_symbols(std::string_view piece, BpeWork& work) const;
  void merge_by(const MergeTable& merges, BpeWork& work) const;
  static void put_symbols(std::string_view piece, bool with_spans, BpeWork& work);
  // The tokens' strings by id, as pieces spell them: of a byte-level vocabulary, raw bytes. Empty: none, or
  // another token has the same.
  struct Strings {
    PageString raw;
    PageVector<std::string_view> tokens;
  };
  Strings strings_of(const Vocabulary& vocabulary) const;
  void keep_tokens(std::span<const std::string_view> tokens);
  void find_byte_symbols(const Vocabulary& vocabulary);
  void find_fallbacks(const Vocabulary& vocabulary);
  // What the merges' strings allow: cuts, known lengths, the plain search.
  void examine_merges(const Vocabulary& vocabulary, std::span<const MergeTable::Merge> merges);

  bool has_affixes() const {
    return !config_.continuing_subword_prefix.empty() || !config_.end_of_word_suffix.empty();
  }
  std::string affixed(std::string_view character, int places) const;
  void put_bytes(std::string_view piece, std::vector<Symbol>& symbols) const;
  void put_characters(std::string_view piece, std::vector<Symbol>& symbols) const;
  void put_unknown(std::string_view symbol, uint32_t bytes, Pending& pending,
                   std::vector<Symbol>& symbols) const;

  Config config_;
  BpeForward forward_;
  // Without forward_. With it: made when a text first needs all of the listed merges.
  mutable MergeTable merges_;
  std::vector<MergeTable::Merge> listed_merges_;
  mutable std::once_flag all_merges_made_;
  bool always_by_queues_ = false;
  Vocabulary tokens_;  // as pieces spell them: of a byte-level vocabulary, raw bytes
  size_t max_token_bytes_ = 0;
  int32_t unk_id_ = -1;
  CharIds char_ids_;
  std::array<int32_t, 256> fallback_ids_;                 // of "<0x00>" ...; -1: none
  std::array<std::array<int32_t, 256>, 4> byte_symbols_;  // by places and byte; -1: none
  BpeCuts cuts_;
  // Whether the merges make the token of its own string: found out when it is first met.
  enum Wholeness : uint8_t { kUnasked, kWhole, kParted };
  std::unique_ptr<std::atomic<uint8_t>[]> wholeness_;
};

}  // namespace headrace
