#include "batch/generation_scheduler.h"

#include <algorithm>
#include <stdexcept>

namespace headrace {
namespace {

// Of a prompt, at least so much in one step while the budget has it: smaller pieces read the weights too
// often.
constexpr int64_t kLeastPiece = 32;

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
  Tenant* const tenant = tenants_.hold(request.tenant);
  if (!waiting_.empty() && is_full(*tenant, prompt)) {
    tenants_.drop(request.tenant);
    const double rate = tokens_per_second_ > 0 ? tokens_per_second_ : 1000.0;
    const auto excess = static_cast<double>(queued_tokens_ + prompt - limits_.max_queue_tokens);
    return Error(ErrorKind::kOverloaded,
                 concat("the queue holds ", queued_tokens_, " prompt tokens, at most ",
                        limits_.max_queue_tokens, " may wait: try again later"),
                 {}, std::max<int64_t>(1, static_cast<int64_t>(1000 * excess / rate)));
  }
  auto entry = std::make_unique<Entry>();
  entry->id = request.id;
  entry->name = request.tenant;
  entry->tenant = tenant;
  entry->cache_key = request.tenant;
  if (request.variant != 0) entry->cache_key += concat(std::string_view("\0", 1), request.variant);
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

// A tenant that has less than its part of a full queue may still come in.
bool GenerationScheduler::is_full(const Tenant& tenant, int64_t prompt) const {
  if (queued_tokens_ + prompt <= limits_.max_queue_tokens) return false;
  std::vector<const Tenant*> waiting{&tenant};
  for (const Turns& turns : turns_)
    for (const Turns::Waiting& one : turns.ring())
      if (std::find(waiting.begin(), waiting.end(), one.tenant) == waiting.end())
        waiting.push_back(one.tenant);
  return tenant.tokens + prompt > limits_.max_queue_tokens / static_cast<int64_t>(waiting.size());
}

void GenerationScheduler::wait(Entry& entry) {
  entry.is_running = false;
  waiting_.insert(std::upper_bound(waiting_.begin(), waiting_.end(), &entry, Before()), &entry);
  turns_[static_cast<size_t>(entry.priority)].join(entry.tenant);
  const auto tokens = static_cast<int64_t>(entry.tokens.size());
  queued_tokens_ += tokens;
  entry.tenant->tokens += tokens;
  ++entry.tenant->waiting;
}

void GenerationScheduler::leave_queue(Entry& entry, bool begun) {
  std::erase(waiting_, &entry);
  turns_[static_cast<size_t>(entry.priority)].leave(entry.tenant, begun);
  const auto tokens = static_cast<int64_t>(entry.tokens.size());
  queued_tokens_ -= tokens;
  entry.tenant->tokens -= tokens;
  --entry.tenant->waiting;
}

// Gives its blocks back; it neither runs nor waits afterwards.
void GenerationScheduler::stop(Entry& entry) {
  if (entry.is_running)
    std::erase(running_, &entry);
  else
    leave_queue(entry, false);
  blocks_.release(entry.sequence);
  entry.computed = entry.planned = 0;
  entry.proposed.clear();
  entry.suggested.clear();
}

bool GenerationScheduler::finish(uint64_t id) {
  const auto at = entries_.find(id);
  if (at == entries_.end()) return false;
  stop(*at->second);
  tenants_.drop(at->second->name);
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
  ++steps_;
  int64_t budget = plan_answers(limits_.step_tokens, spans);
  budget = plan_prompts(budget, spans);
  if (limits_.speculation != 0) plan_proposals(budget, spans);
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

// Running prompts that are to be read on: the first of each tenant, then the second ones, and so on; of
// several alike the one that has waited longest.
void GenerationScheduler::order_readers() {
  readers_.clear();
  for (const auto& [id, entry] : entries_) entry->tenant->reading = 0;
  for (Entry* const entry : running_) {
    if (entry->planned > 0 || entry->left() <= 1) continue;
    entry->rank = entry->tenant->reading++;
    readers_.push_back(entry);
  }
  std::stable_sort(readers_.begin(), readers_.end(), [](const Entry* a, const Entry* b) {
    if (a->priority != b->priority) return a->priority < b->priority;
    if (a->rank != b->rank) return a->rank < b->rank;
    return a->last_read < b->last_read;
  });
}

int64_t GenerationScheduler::plan_prompts(int64_t budget, std::vector<GenerationSpan>& spans) {
  order_readers();
  auto reading = static_cast<int64_t>(readers_.size());
  // Who reads nothing yet begins before others read more.
  while (reading > 0 && begin_next(true, budget, reading + 1, spans)) {
  }
  for (size_t i = 0; i < readers_.size() && budget > 0; ++i) {
    Entry& entry = *readers_[i];
    const int64_t share = std::max(kLeastPiece, budget / reading--);
    const int64_t count = std::min({entry.left(), budget, share});
    entry.last_read = steps_;
    plan(entry, count, spans);  // its blocks are there since it began
    budget -= count;
  }
  while (begin_next(false, budget, static_cast<int64_t>(waiting_.size()), spans)) {
  }
  return budget;
}

// Whose turn it is; only_new: of those of which nothing is read, and nobody of a higher priority reads.
GenerationScheduler::Entry* GenerationScheduler::next_waiting(bool only_new) const {
  for (size_t priority = 0; priority < turns_.size(); ++priority) {
    for (const Turns::Waiting& one : turns_[priority].ring()) {
      if (only_new && one.tenant->reading > 0) continue;
      const auto at = std::find_if(waiting_.begin(), waiting_.end(), [&](const Entry* entry) {
        return entry->tenant == one.tenant && static_cast<size_t>(entry->priority) == priority;
      });
      return *at;
    }
    if (only_new && !readers_.empty() && static_cast<size_t>(readers_.front()->priority) <= priority) break;
  }
  return nullptr;
}

// Begins one that waits and reads some of its prompt; false if none can begin.
bool GenerationScheduler::begin_next(bool only_new, int64_t& budget, int64_t sharers,
                                     std::vector<GenerationSpan>& spans) {
  if (budget <= 0 || static_cast<int64_t>(running_.size()) >= limits_.max_sequences) return false;
  Entry* const entry = next_waiting(only_new);
  if (!entry || !begin(*entry)) return false;
  ++entry->tenant->reading;
  entry->last_read = steps_;
  const int64_t share = std::max(kLeastPiece, budget / std::max<int64_t>(1, sharers));
  const int64_t count = std::min({entry->left(), budget, share});
  plan(*entry, count, spans);
  budget -= count;
  return true;
}

// One of those that wait begins to run, if there is room for all of its tokens.
bool GenerationScheduler::begin(Entry& entry) {
  const int64_t known = blocks_.attach(entry.cache_key, entry.tokens, entry.sequence);
  if (!blocks_.extend(entry.sequence, static_cast<int64_t>(entry.tokens.size()))) {
    blocks_.release(entry.sequence);
    return false;
  }
  leave_queue(entry, true);
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
  entry.suggested.clear();
  blocks_.publish(entry.cache_key, std::span(entry.tokens).first(static_cast<size_t>(entry.computed)),
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
  std::map<const Tenant*, int64_t> holders, waits;
  for (const auto& [id, entry] : entries_) {
    sequences.push_back(&entry->sequence);
    must(entry->is_running || entry->sequence.blocks.empty(), "one that waits holds blocks");
    must(entry->left() >= 1, "a sequence has nothing to compute");
    must(static_cast<int64_t>(entry->tokens.size()) <= entry->limit, "a sequence is too long");
    if (!entry->is_running) queued += static_cast<int64_t>(entry->tokens.size());
    ++holders[entry->tenant], waits[entry->tenant] += !entry->is_running;
  }
  for (const auto& [tenant, count] : holders) must(tenant->holders == count, "a tenant's holders are off");
  for (const auto& [tenant, count] : waits) must(tenant->waiting == count, "a tenant's queue is off");
  must(tenants_.size() == holders.size(), "a tenant is there for nobody");
  int64_t in_turns = 0;
  for (const Turns& turns : turns_)
    for (const Turns::Waiting& one : turns.ring()) in_turns += one.requests;
  must(in_turns == std::ssize(waiting_), "the turns are not those of the queue");
  must(entries_.size() == waiting_.size() + running_.size(), "a sequence is lost");
  must(std::is_sorted(waiting_.begin(), waiting_.end(), Before()), "the queue is out of order");
  must(std::is_sorted(running_.begin(), running_.end(), Before()), "those that run are out of order");
  must(queued == queued_tokens_, "the queue's tokens are off");
  blocks_.check(sequences);
}

}  // namespace headrace
