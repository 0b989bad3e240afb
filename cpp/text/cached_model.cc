#include "text/cached_model.h"

#include <algorithm>

namespace headrace {
namespace {

// Shorter pieces are likely to be in the cache as they are.
constexpr size_t kCutBytes = 16;

// So many pieces are hashed before the first is looked up: by then its slot is on its way from memory.
constexpr size_t kBlockPieces = 64;

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
  PieceCache::Key keys[kBlockPieces];
  PieceCache::Slot* slots[kBlockPieces];
  for (size_t first = 0; first < pieces.size(); first += kBlockPieces) {
    const size_t count = std::min(kBlockPieces, pieces.size() - first);
    for (size_t i = 0; i < count; ++i) {
      keys[i] = work.cache.key(text, pieces[first + i]);
      work.cache.prefetch(keys[i]);
    }
    for (size_t i = 0; i < count; ++i) {
      slots[i] = work.cache.slot(keys[i]);
      if (slots[i] == nullptr) prefetch(keys[i]);
    }
    ids.reserve((count + 1) * PieceCache::kInlineIds);
    for (size_t i = 0; i < count; ++i) {
      const Piece piece = pieces[first + i];
      const std::string_view bytes = text.substr(piece.begin, piece.end - piece.begin);
      const size_t first_id = ids.size();
      if (slots[i] == nullptr || !work.cache.append(*slots[i], keys[i], bytes, ids)) {
        if (!work.cache.find(keys[i], bytes, ids)) {
          add_new(keys[i], bytes, work, ids);
          ids.reserve((count - i) * PieceCache::kInlineIds);
        }
      }
      if (ids.size() - first_id > PieceCache::kInlineIds) ids.reserve((count - i) * PieceCache::kInlineIds);
      if constexpr (kSpans)
        add_spans(text, piece, {ids.data() + first_id, ids.size() - first_id}, work, *spans);
    }
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
