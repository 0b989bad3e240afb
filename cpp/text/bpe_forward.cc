#include "text/bpe_forward.h"

#include <algorithm>
#include <bit>

namespace headrace {

void BpeForward::Pairs::reserve(size_t count) {
  const size_t num_slots = std::bit_ceil(count + count / 2 + 2);
  slots_.assign(num_slots, kFree);
  shift_ = 64 - std::countr_zero(num_slots);
  filter_shift_ = std::max(shift_ - 3, 0);
  filter_.assign(std::max<size_t>(num_slots * 8 / 64, 1), 0);
}

void BpeForward::Pairs::add(int32_t left, int32_t right, uint32_t rank) {
  const uint64_t key = key_of(left, right);
  const uint64_t hash = key * kFactor;
  filter_[hash >> filter_shift_ >> 6] |= uint64_t{1} << (hash >> filter_shift_ & 63);
  size_t at = hash >> shift_;
  while (slots_[at] != kFree) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = key << kRankBits | rank;
}

void BpeForward::learn(const Vocabulary& tokens, const std::array<int32_t, 256>& bytes,
                       std::span<const MergeTable::Merge> merges) {
  if (tokens.size() > kMaxTokens || merges.size() >= kMaxMerges ||
      std::any_of(bytes.begin(), bytes.end(), [](int32_t id) { return id < 0; }))
    return;
  splits_.assign(static_cast<size_t>(tokens.size()), {});
  for (const int32_t id : bytes) splits_[static_cast<size_t>(id)] = {kByte};
  pairs_.reserve(std::min(merges.size(), tokens.num_tokens()));
  // A merge counts if its parts are made by then, if it is the first to make its token, and if it is what
  // happens to the text of that token.
  std::vector<const MergeTable::Merge*> early;
  for (const MergeTable::Merge& merge : merges) {
    const auto [left, right, result] = merge;
    if (!makes(left) || !makes(right)) {
      early.push_back(&merge);
      continue;
    }
    Split& split = splits_[static_cast<size_t>(result)];
    if (split.rank() > 0 && split.left() == left && split.right() == right)
      return;  // of equal merges the last counts
    if (makes(result) || fit(left, right, true) == Fit::kNo) continue;
    const auto rank = static_cast<uint32_t>(&merge - merges.data()) + 1;
    split.bits = static_cast<uint64_t>(left) << 44 | static_cast<uint64_t>(right) << 24 | rank;
    pairs_.add(left, right, rank);
  }
  for (const MergeTable::Merge* const merge : early) {
    if (is_idle(*merge)) continue;
    pairs_.add(merge->left, merge->right, kEarly);
    is_complete_ = false;
  }
  if (!is_complete_) mark_unclear(merges);
  learn_prefixes(tokens);
  ready_ = true;
}

// Where a token is made of its text before both of these parts are, the parts never come to stand side by side.
bool BpeForward::is_idle(const MergeTable::Merge& early) const {
  if (!makes(early.left) || !makes(early.right)) return true;
  const auto rank = [&](int32_t id) { return splits_[static_cast<size_t>(id)].rank(); };
  return makes(early.result) && rank(early.result) < std::max(rank(early.left), rank(early.right));
}

void BpeForward::mark_unclear(std::span<const MergeTable::Merge> merges) {
  is_unclear_.resize(splits_.size());
  for (const MergeTable::Merge& merge : merges) {
    const Split split = splits_[static_cast<size_t>(merge.result)];
    if (split.rank() == 0 || split.left() != merge.left || split.right() != merge.right) continue;
    is_unclear_[static_cast<size_t>(merge.result)] = is_unclear_[static_cast<size_t>(merge.left)] ||
                                                     is_unclear_[static_cast<size_t>(merge.right)] ||
                                                     fit(merge.left, merge.right, true) == Fit::kUnclear;
  }
}

void BpeForward::learn_prefixes(const Vocabulary& tokens) {
  std::vector<TokenPrefixes::Token> all;
  for (int32_t id = 0; id < tokens.size(); ++id)
    if (const auto token = tokens.token(id); !token.empty()) all.push_back({token, id, makes(id)});
  prefixes_ = TokenPrefixes(all);
}

BpeForward::Fit BpeForward::fit(int32_t left, int32_t right, bool are_joined) const {
  Fit found = Fit::kYes;
  uint32_t limit = are_joined ? 0 : kEarly;
  while (true) {
    const uint32_t rank = pairs_.rank(left, right);
    if (rank < limit) return Fit::kNo;
    if (rank == kEarly) found = Fit::kUnclear;
    const Split of_left = splits_[static_cast<size_t>(left)];
    const Split of_right = splits_[static_cast<size_t>(right)];
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

bool BpeForward::encode(std::string_view piece, Memory& memory, std::vector<Symbol>& symbols) const {
  symbols.clear();
  // By place: whether no token that begins there leads on.
  uint64_t few_places = 0;
  std::vector<bool> many_places(piece.size() < 64 ? 0 : piece.size() + 1);
  const auto is_dead = [&](size_t at) {
    return many_places.empty() ? (few_places >> at & 1) != 0 : bool{many_places[at]};
  };
  size_t at = 0;
  auto candidates = prefixes_.at(piece.data(), piece.size());
  while (at < piece.size()) {
    size_t size = 0;
    const int32_t id = prefixes_.next(candidates, &size);
    if (id >= 0) {
      if (is_dead(at + size)) continue;
      const Fit fits = symbols.empty() ? Fit::kYes : remembered_fit(symbols.back().id, id, memory);
      if (fits == Fit::kNo) continue;
      if (!is_complete_ && (fits == Fit::kUnclear || is_unclear_[static_cast<size_t>(id)])) return false;
      symbols.push_back({id, static_cast<uint32_t>(size)});
      at += size;
      candidates = prefixes_.at(piece.data() + at, piece.size() - at);
      continue;
    }
    if (many_places.empty()) {
      few_places |= uint64_t{1} << at;
    } else {
      many_places[at] = true;
    }
    if (symbols.empty()) return false;
    const size_t last = symbols.back().bytes;
    symbols.pop_back();
    at -= last;
    candidates = prefixes_.at(piece.data() + at, piece.size() - at);
    candidates.shorten(last - 1);
  }
  return true;
}

}  // namespace headrace
