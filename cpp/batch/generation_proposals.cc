// Which tokens a step proposes, and how many of them.
#include <algorithm>

#include "batch/generation_scheduler.h"

namespace headrace {
namespace {

// Proposed tokens of one sequence in one step where their number is adaptive, and of all sequences.
constexpr int64_t kMostAdaptive = 16, kMostProposed = 64;

}  // namespace

void GenerationScheduler::plan_proposals(int64_t budget, std::vector<GenerationSpan>& spans) {
  proposals_.clear();
  budget = std::min(budget, kMostProposed);
  int64_t rows = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    rows += static_cast<int64_t>(spans[i].tokens.size());
    if (!spans[i].samples) continue;
    Entry& entry = *entries_.at(spans[i].id);
    const double own = own_chance(entry.id);
    const bool is_suggested = !entry.suggested.empty() && entry.suggested_chance > own;
    if (!entry.speculates || (!is_suggested && own == 0)) continue;
    // One more token than was proposed may come.
    const int64_t left = entry.limit - static_cast<int64_t>(entry.tokens.size()) - 1;
    int64_t most = std::min(left, limits_.speculation < 0 ? kMostAdaptive : limits_.speculation);
    if (is_suggested) most = std::min(most, static_cast<int64_t>(entry.suggested.size()));
    if (most > 0)
      proposals_.push_back({.entry = &entry,
                            .span = i,
                            .most = most,
                            .count = 0,
                            .chance = is_suggested ? entry.suggested_chance : own,
                            .is_suggested = is_suggested});
  }
  choose_rows(rows, budget, proposals_);
  for (const Proposal& proposal : proposals_)
    if (proposal.count > 0) propose(proposal, spans[proposal.span]);
}

void GenerationScheduler::choose_rows(int64_t rows, int64_t budget, std::vector<Proposal>& proposals) const {
  if (limits_.speculation > 0) {
    for (Proposal& proposal : proposals) {
      proposal.count = std::min(proposal.most, budget);
      budget -= proposal.count;
    }
    return;
  }
  RowChoice choice(std::max<int64_t>(1, rows), row_share_);
  for (; budget > 0 && !proposals.empty(); --budget) {
    const auto best =
        std::max_element(proposals.begin(), proposals.end(),
                         [](const Proposal& a, const Proposal& b) { return a.chance < b.chance; });
    if (!choice.take(best->chance)) return;
    const Entry& entry = *best->entry;
    const int64_t agreed = entry.ngrams.match().length + ++best->count;
    best->chance *= best->is_suggested ? entry.suggested_chance : entry.record.chance(agreed);
    if (best->count == best->most) best->chance = 0;
  }
}

void GenerationScheduler::propose(const Proposal& proposal, GenerationSpan& span) {
  Entry& entry = *proposal.entry;
  int64_t count = proposal.count;
  const int64_t next = entry.computed + entry.planned;
  if (!blocks_.extend(entry.sequence, next + count)) {
    const auto room = static_cast<int64_t>(entry.sequence.blocks.size()) * KvBlocks::kBlockTokens;
    count = std::min(count, room - next);
  }
  entry.proposed.resize(static_cast<size_t>(count));
  if (proposal.is_suggested)
    entry.proposed.assign(entry.suggested.begin(), entry.suggested.begin() + count);
  else
    entry.ngrams.propose(entry.tokens, entry.proposed);
  span.proposed = entry.proposed;
  span.is_suggested = proposal.is_suggested;
  span.blocks = entry.sequence.blocks;
}

void GenerationScheduler::answering(std::vector<Answering>& texts) const {
  texts.clear();
  for (const Entry* entry : running_)
    if (entry->speculates && entry->left() == 1)
      texts.push_back({.id = entry->id,
                       .tokens = entry->tokens,
                       .cache_key = entry->cache_key,
                       .room = entry->limit - std::ssize(entry->tokens) - 1});
}

void GenerationScheduler::suggest(uint64_t id, std::span<const int32_t> tokens, double chance) {
  const auto at = entries_.find(id);
  if (at == entries_.end() || !at->second->is_running) return;
  at->second->suggested.assign(tokens.begin(), tokens.end());
  at->second->suggested_chance = chance;
}

double GenerationScheduler::own_chance(uint64_t id) const {
  const auto at = entries_.find(id);
  if (at == entries_.end()) return 0;
  const int64_t agreed = at->second->ngrams.match().length;
  return agreed > 0 ? at->second->record.chance(agreed) : 0;
}

}  // namespace headrace
