#include "text/sentencepiece_unigram.h"

#include <algorithm>
#include <limits>

#include "base/utf8.h"

namespace headrace {

SentencePieceUnigram::SentencePieceUnigram(SentencePieces pieces) : pieces_(std::move(pieces)) {
  constexpr float kUnknownPenalty = 10;
  float lowest = std::numeric_limits<float>::max();
  std::vector<ByteTrie::Entry> entries;
  for (int32_t id = 0; id < pieces_.size(); ++id) {
    const ScoredPiece& piece = pieces_[id];
    scores_.push_back(piece.score);
    if (piece.type == ScoredPiece::kNormal) lowest = std::min(lowest, piece.score);
    // More than any way through smaller tokens can have, since their scores are negative.
    if (piece.type == ScoredPiece::kUserDefined)
      scores_.back() = static_cast<float>(0.1 * (static_cast<int>(piece.text.size()) - 1));
    if (SentencePieces::is_text(piece) && piece.type != ScoredPiece::kUnused)
      entries.push_back({piece.text, id, 0});
  }
  unk_score_ = lowest - kUnknownPenalty;
  trie_ = ByteTrie(entries, 1);
  trie_.forget_edges();
}

void SentencePieceUnigram::find_best(std::string_view text, std::vector<Best>& best) const {
  constexpr float kFarthest = 100000;
  best.assign(text.size() + 1, {0, kNone, 0});
  const ByteTrie::Node* const nodes = trie_.nodes();
  size_t frontier = 0;  // up to here there are sums
  const auto offer = [&](size_t begin, size_t end, float score, int32_t id) {
    frontier = std::max(frontier, end);
    Best& there = best[end];
    if (there.id == kNone || score > there.score) there = {score, id, static_cast<uint32_t>(begin)};
  };
  for (size_t begin = 0; begin < text.size();) {
    float score_here = best[begin].score;
    if (score_here < -kFarthest || score_here > kFarthest) {
      for (size_t i = begin; i <= frontier; ++i)
        if (i == begin || best[i].id != kNone) best[i].score -= score_here;
      score_here = 0;
    }
    const size_t length = utf8_sequence_length(text, begin);
    bool has_token = false;
    int32_t node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      const uint32_t next = nodes[node].base ^ static_cast<uint8_t>(text[at]);
      if (nodes[next].check != node) break;
      node = static_cast<int32_t>(next);
      const int32_t id = nodes[next].value;
      if (id < 0) continue;
      offer(begin, at + 1, scores_[static_cast<size_t>(id)] + score_here, id);
      has_token = has_token || at + 1 == begin + length;
    }
    if (!has_token) offer(begin, begin + length, unk_score_ + score_here, pieces_.unk_id());
    begin += length;
  }
}

void SentencePieceUnigram::encode(std::string_view text, std::span<const Piece> pieces, Scratch& scratch,
                                  IdBuffer& ids, std::vector<Piece>* spans) const {
  Work& work = static_cast<Work&>(scratch);
  for (const Piece piece : pieces) {
    const std::string_view part = text.substr(piece.begin, piece.end - piece.begin);
    find_best(part, work.best);
    work.path.clear();
    for (auto end = static_cast<uint32_t>(part.size()); end > 0; end = work.best[end].begin)
      work.path.push_back({work.best[end].id, {work.best[end].begin, end}});
    work.ids.clear();
    work.spans.clear();
    for (auto token = work.path.rbegin(); token != work.path.rend(); ++token) {
      if (token->id == pieces_.unk_id()) {
        pieces_.put_unknown(part, token->span, work.ids, work.spans);
      } else {
        work.ids.push_back(token->id);
        work.spans.push_back(token->span);
      }
    }
    std::copy(work.ids.begin(), work.ids.end(), ids.reserve(work.ids.size()));
    ids.added(work.ids.size());
    if (spans)
      for (const Piece span : work.spans)
        spans->push_back({piece.begin + span.begin, piece.begin + span.end});
  }
  // One giant text must not hold its memory for ever.
  constexpr size_t kKept = size_t{1} << 16;
  if (work.best.size() > kKept) work = Work();
}

}  // namespace headrace
