// What the subword models share: a text's pieces go through a cache, and the model sees only those that are
// not in it.
#pragma once

#include <memory>
#include <vector>

#include "text/piece_cache.h"
#include "text/stages.h"

namespace headrace {

class CachedModel : public SubwordModel {
 public:
  std::unique_ptr<Scratch> make_scratch() const override { return std::make_unique<Work>(); }
  void encode(std::string_view text, std::span<const Piece> pieces, Scratch& scratch, IdBuffer& ids,
              std::vector<Piece>* spans) const final;

 protected:
  // One thread's memory. Models that need more derive from it.
  struct Work : Scratch {
    PieceCache cache;
    std::vector<Piece> parts;
    // Of the piece at hand:
    std::vector<int32_t> ids;
    std::vector<Piece> spans;  // in bytes from its beginning
  };

  // Replaces work.ids, and work.spans when they are wanted, by those of one piece.
  virtual void encode_piece(std::string_view piece, bool with_spans, Work& work) const = 0;

  // The same of a piece of at most kMaxShortBytes: puts its ids where there is room for so many and returns
  // their number. 0: it must be encode_piece().
  static constexpr size_t kMaxShortBytes = 62;
  virtual size_t encode_short(const PieceCache::Key& key, std::string_view piece, int32_t* ids) const {
    (void)key, (void)piece, (void)ids;
    return 0;
  }

  // Appends to parts the parts of a piece that may be encoded one by one with the same result.
  virtual void cut(std::string_view text, Piece piece, std::vector<Piece>& parts) const {
    (void)text;
    parts.push_back(piece);
  }

  bool can_cut_ = false;
  // By id: how many bytes of a piece it always covers; 0: not always as many.
  std::vector<uint32_t> token_bytes_;

 private:
  template <bool kSpans>
  void encode_all(std::string_view text, std::span<const Piece> pieces, Work& work, IdBuffer& ids,
                  std::vector<Piece>* spans) const;
  // Appends the ids of a piece that is not in the cache, and keeps them there.
  void add_new(const PieceCache::Key& key, std::string_view piece, Work& work, IdBuffer& ids) const;
  // The spans of one piece whose ids are known.
  void add_spans(std::string_view text, Piece piece, std::span<const int32_t> ids, Work& work,
                 std::vector<Piece>& spans) const;
};

}  // namespace headrace
