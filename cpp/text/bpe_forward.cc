#include "text/bpe_forward.h"

#include <algorithm>

namespace headrace {

void BpeForward::learn(std::span<const std::string_view> tokens, const std::array<int32_t, 256>& bytes,
                       std::span<const MergeTable::Merge> merges) {
  if (merges.size() > MergeTable::kMaxMerges ||
      std::any_of(bytes.begin(), bytes.end(), [](int32_t id) { return id < 0; }))
    return;
  std::vector<int32_t> symbols(tokens.size(), -1);  // by id
  ids_.assign(bytes.begin(), bytes.end());
  for (size_t byte = 0; byte < bytes.size(); ++byte)
    symbols[static_cast<size_t>(bytes[byte])] = static_cast<int32_t>(byte);
  if (!learn_merges(merges, symbols)) return;
  if (!is_complete_) mark_unclear();
  short_merge_.learn(pairs_);
  learn_tokens(tokens, symbols);
  ready_ = true;
}

// A merge counts if its parts are made by then, if it is the first to make its token, and if it is what
// happens to the text of that token; the others of that token are never used.
bool BpeForward::learn_merges(std::span<const MergeTable::Merge> merges, std::vector<int32_t>& symbols) {
  const size_t most = std::min(merges.size(), symbols.size());
  pairs_.reserve(most);
  splits_.reserve(most);
  ids_.reserve(symbols.size());
  struct Early {
    const MergeTable::Merge* merge;
    int32_t order;
  };
  std::vector<Early> early;
  for (const MergeTable::Merge& merge : merges) {
    const int32_t left = symbols[static_cast<size_t>(merge.left)];
    const int32_t right = symbols[static_cast<size_t>(merge.right)];
    if (left < 0 || right < 0) {
      early.push_back({&merge, num_made() - 1});
      continue;
    }
    int32_t& made = symbols[static_cast<size_t>(merge.result)];
    if (made >= kNumBytes && split(made).left == left && split(made).right == right) return false;
    if (made >= 0 || fit(left, right, true) == Fit::kNo) continue;
    made = num_made();
    pairs_.add(left, right, made, false);
    splits_.push_back({left, right});
    ids_.push_back(merge.result);
  }
  for (const auto& [merge, place] : early) {
    const int32_t left = symbols[static_cast<size_t>(merge->left)];
    const int32_t right = symbols[static_cast<size_t>(merge->right)];
    const int32_t result = symbols[static_cast<size_t>(merge->result)];
    // What is made by early merges only comes after the first of those.
    if (left < 0 || right < 0) continue;
    // Where a token is made of its text before both of these parts are, the parts never come to stand side
    // by side.
    if (result >= 0 && order(result) < std::max(order(left), order(right))) continue;
    if (pairs_.find(left, right) != PairTable::kNone) return false;  // given twice
    pairs_.add(left, right, place, true);
    is_complete_ = false;
  }
  return true;
}

void BpeForward::mark_unclear() {
  is_unclear_.resize(static_cast<size_t>(num_made()));
  for (int32_t symbol = kNumBytes; symbol < num_made(); ++symbol) {
    const auto [left, right] = split(symbol);
    is_unclear_[static_cast<size_t>(symbol)] =
        is_unclear(left) || is_unclear(right) || fit(left, right, true) == Fit::kUnclear;
  }
}

void BpeForward::learn_tokens(std::span<const std::string_view> tokens, std::vector<int32_t>& symbols) {
  PageVector<TokenPrefixes::Token> all;
  all.reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view token = tokens[id];
    if (token.empty()) continue;
    int32_t& symbol = symbols[id];
    const bool is_made = symbol >= 0;
    if (!is_made) {
      symbol = static_cast<int32_t>(ids_.size());
      ids_.push_back(static_cast<int32_t>(id));
    }
    all.push_back({token, symbol, is_made});
  }
  prefixes_ = TokenPrefixes(all);
}

BpeForward::Fit BpeForward::fit(int32_t left, int32_t right, bool are_joined) const {
  Fit found = Fit::kYes;
  int32_t limit = are_joined ? 0 : PairTable::kNone;  // symbols from there on are undone
  while (true) {
    if (const int32_t merge = pairs_.find(left, right); merge != PairTable::kNone) {
      if (PairTable::is_early(merge)) {
        found = Fit::kUnclear;
      } else if (PairTable::symbol_of(merge) < limit) {
        return Fit::kNo;
      }
    }
    if (std::max(left, right) < kNumBytes) return found;
    if (left > right) {
      limit = left;
      left = split(left).right;
    } else {
      // Of equal merges the one on the left comes first.
      limit = right + 1;
      right = split(right).left;
    }
  }
}

size_t BpeForward::encode_short(std::string_view piece, int32_t* ids) const {
  bool was_early;
  const size_t count = short_merge_.run(pairs_, piece, ids, &was_early);
  if (was_early) return 0;
  for (size_t i = 0; i < count; ++i) ids[i] = ids_[static_cast<size_t>(ids[i])];
  return count;
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
      if (fits == Fit::kUnclear || is_unclear(id)) return false;
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
  for (Symbol& symbol : symbols) symbol.id = ids_[static_cast<size_t>(symbol.id)];
  return true;
}

}  // namespace headrace
