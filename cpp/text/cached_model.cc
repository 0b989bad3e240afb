#include "text/cached_model.h"

#include <algorithm>

namespace headrace {
namespace {

// Shorter pieces are likely to be in the cache as they are.
constexpr size_t kCutBytes = 16;

// So many pieces ahead of the one that is looked up are hashed: by its turn, its slot has come from memory.
constexpr size_t kAhead = 32;

}  // namespace

void CachedModel::encode(std::string_view text, std::span<const Piece> pieces, Scratch& scratch,
                         IdBuffer& ids, std::vector<Piece>* spans) const {
  Work& work = static_cast<Work&>(scratch);
  if (can_cut_) {
    work.parts.clear();
    for (const Piece piece : pieces) {
      if (piece.end - piece.begin >= kCutBytes) {
        cut(text, piece, work.parts);
      } else {
        work.parts.push_back(piece);
      }
    }
    pieces = work.parts;
  }
  if (spans == nullptr) {
    encode_all<false>(text, pieces, work, ids, nullptr);
  } else {
    encode_all<true>(text, pieces, work, ids, spans);
  }
}

template <bool kSpans>
void CachedModel::encode_all(std::string_view text, std::span<const Piece> pieces, Work& work, IdBuffer& ids,
                             std::vector<Piece>* spans) const {
  PieceCache::Key keys[2 * kAhead];
  const auto key = [&](size_t i) -> PieceCache::Key& { return keys[i % (2 * kAhead)]; };
  const auto ask = [&](size_t i) {
    key(i) = work.cache.key(text, pieces[i]);
    work.cache.prefetch(key(i));
  };
  for (size_t i = 0; i < std::min(kAhead, pieces.size()); ++i) ask(i);
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i + kAhead < pieces.size()) ask(i + kAhead);
    const Piece piece = pieces[i];
    const std::string_view bytes = text.substr(piece.begin, piece.end - piece.begin);
    const size_t first_id = ids.size();
    if (!work.cache.find(key(i), bytes, ids)) add_new(key(i), bytes, work, ids);
    if constexpr (kSpans)
      add_spans(text, piece, {ids.data() + first_id, ids.size() - first_id}, work, *spans);
  }
}

void CachedModel::add_new(const PieceCache::Key& key, std::string_view piece, Work& work,
                          IdBuffer& ids) const {
  if (piece.size() <= kMaxShortBytes) {
    int32_t* const out = ids.reserve(kMaxShortBytes);
    if (const size_t count = encode_short(key, piece, out); count > 0) {
      work.cache.insert(key, piece, out, count);
      return ids.added(count);
    }
  }
  encode_piece(piece, false, work);
  work.cache.insert(key, piece, work.ids.data(), work.ids.size());
  std::copy(work.ids.begin(), work.ids.end(), ids.reserve(work.ids.size()));
  ids.added(work.ids.size());
}

void CachedModel::add_spans(std::string_view text, Piece piece, std::span<const int32_t> ids, Work& work,
                            std::vector<Piece>& spans) const {
  const size_t before = spans.size();
  uint32_t at = piece.begin;
  for (const int32_t id : ids) {
    const uint32_t bytes = token_bytes_[static_cast<size_t>(id)];
    if (bytes == 0 || bytes > piece.end - at) break;
    spans.push_back({at, at + bytes});
    at += bytes;
  }
  if (at == piece.end && spans.size() - before == ids.size()) return;
  spans.resize(before);
  encode_piece(text.substr(piece.begin, piece.end - piece.begin), true, work);
  for (const Piece span : work.spans) spans.push_back({piece.begin + span.begin, piece.begin + span.end});
}

}  // namespace headrace
