#include "text/sentencepiece_bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/utf8.h"

namespace headrace {
namespace {

// Floats in their order as integers, -0 before +0, as the reference compares them.
int32_t order_of(float score) {
  const auto bits = std::bit_cast<int32_t>(score);
  return bits < 0 ? static_cast<int32_t>(~static_cast<uint32_t>(bits) | 0x80000000u) : bits;
}

}  // namespace

SentencePieceBpe::SentencePieceBpe(SentencePieces pieces) : pieces_(std::move(pieces)) {
  std::vector<int32_t> scores;
  std::vector<ByteTrie::Entry> text;
  std::vector<ByteTrie::Entry> user_defined;
  bool has_unused = false;
  for (int32_t id = 0; id < pieces_.size(); ++id) {
    const ScoredPiece& piece = pieces_[id];
    const bool is_text = SentencePieces::is_text(piece);
    scores.push_back(order_of(piece.score));
    token_bytes_.push_back(is_text ? static_cast<uint32_t>(piece.text.size()) : 0);
    if (is_text) text.push_back({piece.text, id, 0});
    if (piece.type == ScoredPiece::kUserDefined) user_defined.push_back({piece.text, id, 0});
    has_unused = has_unused || piece.type == ScoredPiece::kUnused;
  }
  trie_ = ByteTrie(text, 1);
  trie_.forget_edges();
  user_defined_ = ByteTrie(user_defined, 1);
  user_defined_.forget_edges();
  std::vector<int32_t> sorted = scores;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  for (const int32_t score : scores)
    ranks_.push_back(static_cast<int32_t>(
        std::lower_bound(sorted.begin(), sorted.end(), score, std::greater<>()) - sorted.begin()));
  // How an unused token is taken apart depends on the whole text.
  if (!has_unused) learn_cuts();
}

// Two characters that stand side by side in no token are never joined (bpe_cuts.h).
void SentencePieceBpe::learn_cuts() {
  size_t num_characters = 0;
  for (int32_t id = 0; id < pieces_.size(); ++id)
    if (SentencePieces::is_text(pieces_[id])) num_characters += pieces_[id].text.size();
  cuts_.reserve(num_characters);
  for (int32_t id = 0; id < pieces_.size(); ++id) {
    const std::string_view text = pieces_[id].text;
    if (!SentencePieces::is_text(pieces_[id])) continue;
    size_t at = utf8_sequence_length(text, 0);
    if (at == text.size()) char_ids_.set(utf8_decode(text.data(), at), id);
    for (; at < text.size(); at += utf8_sequence_length(text, at))
      cuts_.learn(text.substr(0, at), text.substr(at));
  }
  cuts_.finish(char_ids_);
  can_cut_ = true;
}

int32_t SentencePieceBpe::walk(int32_t node, std::string_view text) const {
  for (size_t i = 0; i < text.size() && node >= 0; ++i)
    node = trie_.child(node, static_cast<uint8_t>(text[i]));
  return node;
}

void SentencePieceBpe::split(std::string_view text, BpeWork& work) const {
  for (uint32_t at = 0; at < text.size();) {
    size_t length = 0;
    const bool is_frozen = user_defined_.longest_match(text, at, &length) >= 0;
    if (!is_frozen) length = utf8_sequence_length(text, at);
    const auto number = static_cast<int32_t>(work.symbols.size());
    const auto end = at + static_cast<uint32_t>(length);
    work.symbols.push_back({{at, end},
                            walk(0, text.substr(at, length)),
                            number - 1,
                            end < text.size() ? number + 1 : -1,
                            is_frozen});
    at = end;
  }
}

void SentencePieceBpe::offer(std::string_view text, int32_t left, int32_t right, BpeWork& work) const {
  if (left < 0 || right < 0) return;
  const Symbol& a = work.symbols[static_cast<size_t>(left)];
  const Symbol& b = work.symbols[static_cast<size_t>(right)];
  if (a.is_frozen || b.is_frozen) return;
  const int32_t node = walk(a.node, text.substr(b.span.begin, b.size()));
  const int32_t id = id_at(node);
  if (id < 0) return;
  work.heap.push_back({ranks_[static_cast<size_t>(id)], left, right, node, a.size() + b.size()});
  std::push_heap(work.heap.begin(), work.heap.end());
  if (pieces_[id].type == ScoredPiece::kUnused)
    work.unused[text.substr(a.span.begin, a.size() + b.size())] = {a.span, b.span};
}

void SentencePieceBpe::merge_all(std::string_view text, BpeWork& work) const {
  auto& symbols = work.symbols;
  for (int32_t right = 1; right < static_cast<int32_t>(symbols.size()); ++right)
    offer(text, right - 1, right, work);
  while (!work.heap.empty()) {
    std::pop_heap(work.heap.begin(), work.heap.end());
    const Merge merge = work.heap.back();
    work.heap.pop_back();
    Symbol& left = symbols[static_cast<size_t>(merge.left)];
    Symbol& right = symbols[static_cast<size_t>(merge.right)];
    if (left.size() == 0 || right.size() == 0 || left.size() + right.size() != merge.size) continue;
    left.span.end = right.span.end;
    left.node = merge.node;
    left.next = right.next;
    if (right.next >= 0) symbols[static_cast<size_t>(right.next)].previous = merge.left;
    right.span.begin = right.span.end;
    offer(text, left.previous, merge.left, work);
    offer(text, merge.left, left.next, work);
  }
}

void SentencePieceBpe::put(std::string_view text, Piece span, int depth, BpeWork& work) const {
  constexpr int kDeepest = 100;  // as in the reference
  const std::string_view bytes = text.substr(span.begin, span.end - span.begin);
  const int32_t id = id_at(walk(0, bytes));
  if (id < 0) return pieces_.put_unknown(text, span, work.ids, work.spans);
  if (pieces_[id].type == ScoredPiece::kUnused && depth <= kDeepest) {
    const auto parts = work.unused.find(bytes);
    if (parts == work.unused.end()) return pieces_.put_unknown(text, span, work.ids, work.spans);
    const auto [left, right] = parts->second;
    // They may have been seen at another place of the text.
    const uint32_t middle = span.begin + (left.end - left.begin);
    put(text, {span.begin, middle}, depth + 1, work);
    put(text, {middle, middle + (right.end - right.begin)}, depth + 1, work);
    return;
  }
  work.ids.push_back(id);
  work.spans.push_back(span);
}

void SentencePieceBpe::encode_piece(std::string_view piece, bool, Work& base) const {
  BpeWork& work = static_cast<BpeWork&>(base);
  work.ids.clear();
  work.spans.clear();
  work.symbols.clear();
  work.unused.clear();
  split(piece, work);
  merge_all(piece, work);
  for (int32_t at = work.symbols.empty() ? -1 : 0; at >= 0; at = work.symbols[static_cast<size_t>(at)].next)
    put(piece, work.symbols[static_cast<size_t>(at)].span, 0, work);
  // One giant piece must not hold its memory for ever.
  constexpr size_t kKept = size_t{1} << 16;
  if (work.symbols.capacity() > kKept) work.symbols = {};
  if (work.heap.capacity() > kKept) work.heap = {};
}

}  // namespace headrace
