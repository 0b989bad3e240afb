#include "text/bpe_forward.h"

#include <algorithm>

namespace headrace {

void BpeForward::learn(const Vocabulary& tokens, const std::array<int32_t, 256>& bytes,
                       std::span<const MergeTable::Merge> merges, MergeTable& table) {
  if (merges.size() > MergeTable::kMaxMerges ||
      std::any_of(bytes.begin(), bytes.end(), [](int32_t id) { return id < 0; }))
    return;
  merges_ = &table;
  splits_.assign(static_cast<size_t>(tokens.size()), {});
  for (const int32_t id : bytes) splits_[static_cast<size_t>(id)] = {kByte};
  if (!learn_merges(merges, table)) return;
  std::vector<TokenPrefixes::Token> all;
  all.reserve(tokens.num_tokens());
  for (int32_t id = 0; id < tokens.size(); ++id)
    if (const auto token = tokens.token(id); !token.empty()) all.push_back({token, id, makes(id)});
  prefixes_ = TokenPrefixes(all);
  ready_ = true;
}

// A merge counts if its parts are made by then, if it is the first to make its token, and if it is what
// happens to the text of that token; the others of that token are never used.
bool BpeForward::learn_merges(std::span<const MergeTable::Merge> merges, MergeTable& table) {
  table.reserve(std::min(merges.size(), splits_.size()));
  std::vector<const MergeTable::Merge*> early;
  for (const MergeTable::Merge& merge : merges) {
    const auto [left, right, result] = merge;
    if (!makes(left) || !makes(right)) {
      early.push_back(&merge);
      continue;
    }
    Split& made = splits_[static_cast<size_t>(result)];
    if (made.rank() > 0 && made.left() == left && made.right() == right) return false;
    if (makes(result) || fit(left, right, true) == Fit::kNo) continue;
    const auto rank = static_cast<uint32_t>(&merge - merges.data()) + 1;
    made.bits = static_cast<uint64_t>(left) << 44 | static_cast<uint64_t>(right) << 24 | rank;
    table.add(merge, rank);
  }
  for (const MergeTable::Merge* const merge : early) {
    // What is made by early merges only comes after the first of those.
    if (!makes(merge->left) || !makes(merge->right) || is_idle(*merge)) continue;
    if (table.find(merge->left, merge->right) != MergeTable::kNone) return false;  // given twice
    table.add(*merge, static_cast<uint32_t>(merge - merges.data()) + 1, true);
    is_complete_ = false;
  }
  if (!is_complete_) mark_unclear(merges);
  return true;
}

// Where a token is made of its text before both of these parts are, the parts never come to stand side by
// side.
bool BpeForward::is_idle(const MergeTable::Merge& early) const {
  return makes(early.result) &&
         split(early.result).rank() < std::max(split(early.left).rank(), split(early.right).rank());
}

void BpeForward::mark_unclear(std::span<const MergeTable::Merge> merges) {
  is_unclear_.resize(splits_.size());
  for (const MergeTable::Merge& merge : merges) {
    const Split made = split(merge.result);
    if (made.rank() == 0 || made.left() != merge.left || made.right() != merge.right) continue;
    is_unclear_[static_cast<size_t>(merge.result)] = is_unclear_[static_cast<size_t>(merge.left)] ||
                                                     is_unclear_[static_cast<size_t>(merge.right)] ||
                                                     fit(merge.left, merge.right, true) == Fit::kUnclear;
  }
}

BpeForward::Fit BpeForward::fit(int32_t left, int32_t right, bool are_joined) const {
  Fit found = Fit::kYes;
  uint32_t limit = are_joined ? 0 : MergeTable::kMaxMerges + 1;
  while (true) {
    if (const uint64_t merge = merges_->find(left, right); merge != MergeTable::kNone) {
      if (MergeTable::is_early(merge)) {
        found = Fit::kUnclear;
      } else if (MergeTable::rank_of(merge) < limit) {
        return Fit::kNo;
      }
    }
    const Split of_left = split(left);
    const Split of_right = split(right);
    if (of_left.rank() > of_right.rank()) {
      limit = of_left.rank();
      left = of_left.right();
    } else {
      if (of_right.rank() == 0) return found;
      // Of equal merges the one on the left comes first.
      limit = of_right.rank() + 1;
      right = of_right.left();
    }
  }
}

bool BpeForward::encode(std::string_view piece, std::vector<Symbol>& symbols) const {
  symbols.clear();
  // Near its end the piece is read from a copy, behind which there is something to read.
  constexpr size_t kTail = TokenPrefixes::kPadding;
  char tail[2 * kTail] = {};
  const size_t tail_begin = piece.size() - std::min(piece.size(), kTail);
  std::copy(piece.begin() + static_cast<std::ptrdiff_t>(tail_begin), piece.end(), tail);
  const auto candidates_at = [&](size_t place) {
    const char* const text = place < tail_begin ? piece.data() + place : tail + (place - tail_begin);
    return prefixes_.at(text, piece.size() - place);
  };
  std::vector<bool> is_dead(piece.size() + 1);  // by place: no token that begins there leads on
  size_t at = 0;
  auto candidates = candidates_at(0);
  while (at < piece.size()) {
    size_t size = 0;
    const int32_t id = prefixes_.next(candidates, &size);
    if (id >= 0) {
      if (is_dead[at + size]) continue;
      const Fit fits = symbols.empty() ? Fit::kYes : fit(symbols.back().id, id, false);
      if (fits == Fit::kNo) continue;
      if (!is_complete_ && (fits == Fit::kUnclear || is_unclear_[static_cast<size_t>(id)])) return false;
      symbols.push_back({id, static_cast<uint32_t>(size)});
      at += size;
      candidates = candidates_at(at);
      continue;
    }
    if (symbols.empty()) return false;
    is_dead[at] = true;
    const size_t last = symbols.back().bytes;
    symbols.pop_back();
    at -= last;
    candidates = candidates_at(at);
    candidates.shorten(last - 1);
  }
  return true;
}

}  // namespace headrace
