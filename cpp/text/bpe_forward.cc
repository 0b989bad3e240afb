#include "text/bpe_forward.h"

#include <algorithm>
#include <bit>

namespace headrace {

void BpeForward::Pairs::reserve(size_t count) {
  const size_t num_slots = std::bit_ceil(count + count / 2 + 2);
  slots_.assign(num_slots, kFree);
  shift_ = 64 - std::countr_zero(num_slots);
  // Eight bits for each slot, two of them set by each pair.
  const size_t num_words = std::max<size_t>(num_slots / 8, 2);
  filter_.assign(num_words, 0);
  filter_shift_ = 64 - std::countr_zero(num_words);
}

void BpeForward::Pairs::add(int32_t left, int32_t right, uint32_t rank) {
  const uint64_t key = key_of(left, right);
  const uint64_t hash = key * kFactor;
  filter_[hash >> filter_shift_] |= filter_bits(hash);
  size_t at = hash >> shift_;
  while (slots_[at] != kFree) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = key << kRankBits | rank;
}

void BpeForward::learn(const Vocabulary& tokens, const std::array<int32_t, 256>& bytes,
                       std::span<const MergeTable::Merge> merges) {
  if (tokens.size() > kMaxTokens || merges.size() >= kMaxMerges ||
      std::any_of(bytes.begin(), bytes.end(), [](int32_t id) { return id < 0; }))
    return;
  histories_.resize(static_cast<size_t>(tokens.size()));
  is_made_.resize(static_cast<size_t>(tokens.size()));
  for (const int32_t id : bytes) is_made_[static_cast<size_t>(id)] = true;
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
    History& made = histories_[static_cast<size_t>(result)];
    if (makes(result)) {
      if (made.left[0].part() == left && made.right[0].part() == right && rank_of(result) > 0)
        return;  // of equal merges the last counts
      continue;
    }
    if (fit(left, right, true) == Fit::kNo) continue;
    const auto rank = static_cast<uint32_t>(&merge - merges.data()) + 1;
    made.left[0].bits = static_cast<uint64_t>(left) << 24 | rank;
    made.right[0].bits = static_cast<uint64_t>(right) << 24 | rank;
    std::copy_n(history(left).left, kSteps - 1, made.left + 1);
    std::copy_n(history(right).right, kSteps - 1, made.right + 1);
    is_made_[static_cast<size_t>(result)] = true;
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
  return makes(early.result) && rank_of(early.result) < std::max(rank_of(early.left), rank_of(early.right));
}

void BpeForward::mark_unclear(std::span<const MergeTable::Merge> merges) {
  is_unclear_.resize(histories_.size());
  for (const MergeTable::Merge& merge : merges) {
    const History& made = history(merge.result);
    if (rank_of(merge.result) == 0 || made.left[0].part() != merge.left || made.right[0].part() != merge.right)
      continue;
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
  const Step* of_left = history(left).right;
  const Step* of_right = history(right).left;
  const Step* end_of_left = of_left + kSteps;
  const Step* end_of_right = of_right + kSteps;
  Fit found = Fit::kYes;
  uint32_t limit = are_joined ? 0 : kEarly;
  while (true) {
    const uint32_t rank = pairs_.rank(left, right);
    if (rank < limit) return Fit::kNo;
    if (rank == kEarly) [[unlikely]]
      found = Fit::kUnclear;
    if (of_left == end_of_left) [[unlikely]] {
      of_left = history(left).right;
      end_of_left = of_left + kSteps;
    }
    if (of_right == end_of_right) [[unlikely]] {
      of_right = history(right).left;
      end_of_right = of_right + kSteps;
    }
    // The later of the two merges is undone; of equal merges the one on the left comes first. Choices, not branches:
    // which it is cannot be guessed.
    const bool is_left = of_left->rank() > of_right->rank();
    const Step step = is_left ? *of_left : *of_right;
    if (step.rank() == 0) return found;
    limit = step.rank() + (is_left ? 0 : 1);
    left = is_left ? step.part() : left;
    right = is_left ? right : step.part();
    of_left += is_left ? 1 : 0;
    of_right += is_left ? 0 : 1;
  }
}

void BpeForward::prefetch(std::span<const std::string_view> pieces) const {
  constexpr size_t kPlaces = 32;
  for (const std::string_view piece : pieces)
    prefixes_.prefetch_places(piece.data(), std::min(piece.size(), kPlaces));
  for (const std::string_view piece : pieces)
    prefixes_.prefetch_tokens(piece.data(), std::min(piece.size(), kPlaces));
  for (const std::string_view piece : pieces) prefetch_histories(piece);
}

// The longest token at each turn, which is the way in most cases: brings the histories of those tokens nearer.
void BpeForward::prefetch_histories(std::string_view piece) const {
  constexpr int kMostTokens = 12;
  size_t at = 0;
  for (int i = 0; i < kMostTokens && at < piece.size(); ++i) {
    auto candidates = prefixes_.at(piece.data() + at, piece.size() - at);
    size_t size = 0;
    const int32_t id = prefixes_.next(candidates, &size);
    if (id < 0) return;
    __builtin_prefetch(&history(id));
    at += size;
  }
}

bool BpeForward::encode(std::string_view piece, std::vector<Symbol>& symbols) const {
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
      const Fit fits = symbols.empty() ? Fit::kYes : fit(symbols.back().id, id, false);
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
