#include "batch/generation_scheduler.h"

#include <algorithm>
#include <stdexcept>

namespace headrace {
namespace {

// Of a prompt, at least so much in one step while the budget has it: smaller pieces read the weights too
// often.
constexpr int64_t kLeastPiece = 32;

// Proposed tokens of one sequence in one step where their number is adaptive, and of all sequences.
constexpr int64_t kMostAdaptive = 16, kMostProposed = 64;

Error invalid(std::string message) { return Error(ErrorKind::kInvalidArgument, std::move(message)); }

}  // namespace

GenerationScheduler::GenerationScheduler(const GenerationLimits& limits, KvBlocks& blocks)
    : limits_(limits), blocks_(blocks), row_share_(RowCost().share()) {
  if (limits.step_tokens < 1 || limits.max_sequences < 1 || limits.max_queue_tokens < 1)
    throw invalid(concat("step_tokens=", limits.step_tokens, ", max_sequences=", limits.max_sequences,
                         ", max_queue_tokens=", limits.max_queue_tokens, ": must be at least 1 each"));
  if (limits.speculation < kAdaptiveSpeculation)
    throw invalid(concat("speculation=", limits.speculation, ": must be at least 0, or ",
                         kAdaptiveSpeculation, " for an adaptive number"));
}

std::optional<Error> GenerationScheduler::submit(const GenerationRequest& request) {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt == 0) throw invalid("a prompt without tokens: give at least one");
  if (request.max_tokens < 1)
    throw invalid(concat("max_tokens=", request.max_tokens, ": must be at least 1"));
  const int64_t room = blocks_.counts().blocks * KvBlocks::kBlockTokens;
  // The last generated token is never computed.
  if (prompt + request.max_tokens - 1 > room)
    throw Error(ErrorKind::kInvalidArgument,
                concat("a prompt of ", prompt, " tokens and up to ", request.max_tokens,
                       " generated ones do not fit the cache of ", room,
                       " tokens: ask for fewer, or give "
                       "the cache more memory"),
                "context_length_exceeded");
  if (entries_.contains(request.id))
    throw invalid(concat("the request id ", request.id, " is known already"));
  if (!waiting_.empty() && queued_tokens_ + prompt > limits_.max_queue_tokens) {
    const double rate = tokens_per_second_ > 0 ? tokens_per_second_ : 1000.0;
    const auto excess = static_cast<double>(queued_tokens_ + prompt - limits_.max_queue_tokens);
    return Error(ErrorKind::kOverloaded,
                 concat("the queue holds ", queued_tokens_, " prompt tokens, at most ",
                        limits_.max_queue_tokens, " may wait: try again later"),
                 {}, std::max<int64_t>(1, static_cast<int64_t>(1000 * excess / rate)));
  }
  auto entry = std::make_unique<Entry>();
  entry->id = request.id;
  entry->tenant = request.tenant;
  entry->tokens.reserve(static_cast<size_t>(prompt + request.max_tokens));
  entry->tokens.assign(request.prompt.begin(), request.prompt.end());
  entry->prompt = prompt;
  entry->limit = prompt + request.max_tokens;
  entry->priority = request.priority;
  entry->arrival_us = request.arrival_us;
  entry->deadline_us = request.deadline_us;
  entry->order = next_order_++;
  entry->speculates = request.speculates && limits_.speculation != 0;
  wait(*entry);
  entries_.emplace(request.id, std::move(entry));
  return std::nullopt;
}

void GenerationScheduler::wait(Entry& entry) {
  entry.is_running = false;
  waiting_.insert(std::upper_bound(waiting_.begin(), waiting_.end(), &entry, Before()), &entry);
  queued_tokens_ += static_cast<int64_t>(entry.tokens.size());
}

// Gives its blocks back; it neither runs nor waits afterwards.
void GenerationScheduler::stop(Entry& entry) {
  if (!entry.is_running) queued_tokens_ -= static_cast<int64_t>(entry.tokens.size());
  std::erase(entry.is_running ? running_ : waiting_, &entry);
  blocks_.release(entry.sequence);
  entry.computed = entry.planned = 0;
  entry.proposed.clear();
}

bool GenerationScheduler::finish(uint64_t id) {
  const auto at = entries_.find(id);
  if (at == entries_.end()) return false;
  stop(*at->second);
  entries_.erase(at);
  return true;
}

void GenerationScheduler::expire(int64_t now_us, std::vector<uint64_t>& expired) {
  for (const auto& [id, entry] : entries_)
    if (entry->deadline_us > 0 && entry->deadline_us <= now_us) expired.push_back(id);
  for (const uint64_t id : expired) finish(id);
}

void GenerationScheduler::next_step(int64_t now_us, std::vector<GenerationSpan>& spans,
                                    std::vector<uint64_t>& expired) {
  spans.clear();
  expired.clear();
  expire(now_us, expired);
  int64_t budget = plan_answers(limits_.step_tokens, spans);
  budget = plan_prompts(budget, spans);
  if (limits_.speculation != 0) plan_proposals(std::min(budget, kMostProposed), spans);
}

void GenerationScheduler::plan(Entry& entry, int64_t count, std::vector<GenerationSpan>& spans) {
  entry.planned = count;
  spans.push_back(
      {.id = entry.id,
       .tokens =
           std::span(entry.tokens).subspan(static_cast<size_t>(entry.computed), static_cast<size_t>(count)),
       .position = entry.computed,
       .blocks = entry.sequence.blocks,
       .samples = count == entry.left(),
       .proposed = {}});
}

// Room for so many tokens of a running sequence, by preempting others; false when it was preempted itself.
bool GenerationScheduler::make_room(Entry& entry, int64_t tokens) {
  while (!blocks_.extend(entry.sequence, tokens)) {
    Entry* const victim = running_.back();
    stop(*victim);
    wait(*victim);
    ++preemptions_;
    if (victim == &entry) return false;
  }
  return true;
}

int64_t GenerationScheduler::plan_answers(int64_t budget, std::vector<GenerationSpan>& spans) {
  // Who comes first is served first, and preempts from behind: none that is planned loses its blocks.
  for (size_t i = 0; i < running_.size() && budget > 0; ++i) {
    Entry& entry = *running_[i];
    if (entry.left() != 1) continue;
    if (!make_room(entry, entry.computed + 1)) continue;
    plan(entry, 1, spans);
    --budget;
  }
  return budget;
}

int64_t GenerationScheduler::plan_prompts(int64_t budget, std::vector<GenerationSpan>& spans) {
  int64_t reading = 0;
  for (const Entry* entry : running_) reading += entry->planned == 0 && entry->left() > 1;
  const auto piece = [&](const Entry& entry, int64_t sharers) {
    const int64_t share = std::max(kLeastPiece, budget / std::max<int64_t>(1, sharers));
    return std::min({entry.left(), budget, share});
  };
  for (size_t i = 0; i < running_.size() && budget > 0; ++i) {
    Entry& entry = *running_[i];
    if (entry.planned > 0 || entry.left() <= 1) continue;
    const int64_t count = piece(entry, reading--);
    plan(entry, count, spans);  // its blocks are there since it began
    budget -= count;
  }
  while (budget > 0 && !waiting_.empty() && static_cast<int64_t>(running_.size()) < limits_.max_sequences) {
    Entry& entry = *waiting_.front();
    if (!begin(entry)) break;
    const int64_t count = piece(entry, static_cast<int64_t>(waiting_.size()) + 1);
    plan(entry, count, spans);
    budget -= count;
  }
  return budget;
}

void GenerationScheduler::plan_proposals(int64_t budget, std::vector<GenerationSpan>& spans) {
  proposals_.clear();
  int64_t rows = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    rows += static_cast<int64_t>(spans[i].tokens.size());
    if (!spans[i].samples) continue;
    Entry& entry = *entries_.at(spans[i].id);
    const int64_t agreed = entry.ngrams.match().length;
    if (!entry.speculates || agreed == 0) continue;
    // One more token than was proposed may come.
    const int64_t left = entry.limit - static_cast<int64_t>(entry.tokens.size()) - 1;
    const int64_t most = std::min(left, limits_.speculation < 0 ? kMostAdaptive : limits_.speculation);
    if (most > 0)
      proposals_.push_back(
          {.entry = &entry, .span = i, .most = most, .count = 0, .chance = entry.record.chance(agreed)});
  }
  choose_rows(rows, budget, proposals_);
  for (const Proposal& proposal : proposals_)
    if (proposal.count > 0) propose(*proposal.entry, proposal.count, spans[proposal.span]);
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
    const int64_t agreed = best->entry->ngrams.match().length + ++best->count;
    best->chance = best->count < best->most ? best->chance * best->entry->record.chance(agreed) : 0;
  }
}

void GenerationScheduler::propose(Entry& entry, int64_t count, GenerationSpan& span) {
  const int64_t next = entry.computed + entry.planned;
  if (!blocks_.extend(entry.sequence, next + count)) {
    const auto room = static_cast<int64_t>(entry.sequence.blocks.size()) * KvBlocks::kBlockTokens;
    count = std::min(count, room - next);
  }
  entry.proposed.resize(static_cast<size_t>(count));
  entry.ngrams.propose(entry.tokens, entry.proposed);
  span.proposed = entry.proposed;
  span.blocks = entry.sequence.blocks;
}

// The first of those that wait begins to run, if there is room for all of its tokens.
bool GenerationScheduler::begin(Entry& entry) {
  const int64_t known = blocks_.attach(entry.tenant, entry.tokens, entry.sequence);
  if (!blocks_.extend(entry.sequence, static_cast<int64_t>(entry.tokens.size()))) {
    blocks_.release(entry.sequence);
    return false;
  }
  waiting_.erase(waiting_.begin());
  queued_tokens_ -= static_cast<int64_t>(entry.tokens.size());
  entry.computed = known;
  entry.cached = std::max(entry.cached, std::min(known, entry.prompt));
  entry.is_running = true;
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &entry, Before()), &entry);
  return true;
}

void GenerationScheduler::advance(uint64_t id, int64_t computed, std::span<const int32_t> tokens) {
  Entry& entry = *entries_.at(id);
  for (const int32_t token : tokens) {
    const NgramIndex::Match match = entry.ngrams.match();
    if (match.length > 0)
      entry.record.observe(match.length, entry.tokens[static_cast<size_t>(match.next)] == token);
    entry.tokens.push_back(token);
    if (entry.speculates) entry.ngrams.read(entry.tokens);
  }
  entry.computed += computed;
  entry.planned = 0;
  entry.proposed.clear();
  blocks_.publish(entry.tenant, std::span(entry.tokens).first(static_cast<size_t>(entry.computed)),
                  entry.sequence);
}

int64_t GenerationScheduler::cached_tokens(uint64_t id) const {
  const auto at = entries_.find(id);
  return at == entries_.end() ? 0 : at->second->cached;
}

void GenerationScheduler::check() const {
  const auto must = [](bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
  };
  std::vector<const KvBlocks::Sequence*> sequences;
  int64_t queued = 0;
  for (const auto& [id, entry] : entries_) {
    sequences.push_back(&entry->sequence);
    must(entry->is_running || entry->sequence.blocks.empty(), "one that waits holds blocks");
    must(entry->left() >= 1, "a sequence has nothing to compute");
    must(static_cast<int64_t>(entry->tokens.size()) <= entry->limit, "a sequence is too long");
    if (!entry->is_running) queued += static_cast<int64_t>(entry->tokens.size());
  }
  must(entries_.size() == waiting_.size() + running_.size(), "a sequence is lost");
  must(std::is_sorted(waiting_.begin(), waiting_.end(), Before()), "the queue is out of order");
  must(std::is_sorted(running_.begin(), running_.end(), Before()), "those that run are out of order");
  must(queued == queued_tokens_, "the queue's tokens are off");
  blocks_.check(sequences);
}

}  // namespace headrace
