// Which tokens of which sequences a language model computes next. Pure logic: no tensors, no threads, no
// clock; one caller at a time.
//
//   submit -> waiting -> running: prompt, in pieces -> one token a step -> end
//                 ^         |
//                 +---------+  preempted: its blocks were needed; computed again later
//
// There is no phase for prompts and none for answers: a sequence has tokens, of which some are computed. Each
// step takes the next token of every sequence that answers, and spends what is left of its token budget on
// prompts, a piece at a time, so that a long prompt holds nobody up by more than a step. (Yu et al. 2022,
// "Orca"; Agrawal et al. 2024, "Sarathi-Serve", arXiv:2403.02310.) Prompts that are being read share what is
// left in equal parts; those that wait come in order of priority, then of their tenants' turns (turns.h), and
// those of one tenant in order of arrival. Where a tenant reads several prompts, others come after the first
// of them.
//
// Memory. A prompt is begun only when there are blocks for all of it. When an answer needs a block and none
// is free, the running sequence of the lowest priority that came last gives up all of its blocks and waits
// again, with what it has generated; its full blocks stay findable, so often little is lost.
//
// Speculation. Where a sequence's last tokens have come before, what followed then is proposed: a step
// computes proposed tokens behind the sequence's own, and as many of them as the sampler draws too are
// accepted. So one step may give several tokens, and which it gives does not depend on what was proposed.
// Proposals take what is left of a step's budget when all else is planned, and no blocks that would have to
// be taken from a sequence.
//
// A proposal may come from elsewhere, too: suggest().
//
// Admission. A request that would wait for more than max_queue_tokens of others' prompts is refused, unless
// its tenant has less waiting than an equal share of them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "batch/kv_blocks.h"
#include "batch/ngram_index.h"
#include "batch/request.h"
#include "batch/speculation.h"
#include "batch/turns.h"

namespace headrace {

// GenerationLimits::speculation: as many proposed tokens as are expected to be worth their time.
inline constexpr int64_t kAdaptiveSpeculation = -1;

struct GenerationLimits {
  int64_t step_tokens = 256;   // computed in one step
  int64_t max_sequences = 64;  // running at a time
  int64_t max_queue_tokens = 65536;
  int64_t speculation = 0;  // proposed tokens of one sequence in one step, at most; 0: none
};

struct GenerationRequest {
  uint64_t id = 0;                  // unique among those the scheduler knows
  std::string tenant;               // whose turn it takes, and with whom cached prompts may be shared
  uint64_t variant = 0;             // prompts are shared by requests of one variant only
  std::span<const int32_t> prompt;  // at least one token; copied
  int64_t max_tokens = 0;           // generated at most so many
  Priority priority = Priority::kInteractive;
  int64_t arrival_us = 0;
  int64_t deadline_us = 0;  // ends unfinished at this moment; 0: none
  bool speculates = true;   // tokens may be proposed for it
};

// A stretch of one sequence to compute.
struct GenerationSpan {
  uint64_t id = 0;
  std::span<const int32_t> tokens;
  int64_t position = 0;  // of the first
  std::span<const int32_t> blocks;
  bool samples = false;  // its last token is the sequence's last: the next one is wanted
  // To be computed behind `tokens`; each is wanted if those before it are what was drawn at their places.
  std::span<const int32_t> proposed;
  bool is_suggested = false;  // what is proposed is from suggest()
};

// A sequence that waits for its next token alone.
struct Answering {
  uint64_t id = 0;
  std::span<const int32_t> tokens;  // valid until its next advance() or end
  std::string cache_key;
  int64_t room = 0;  // tokens that may come behind the next one
};

class GenerationScheduler {
 public:
  // The blocks are this scheduler's alone. Throws kInvalidArgument for limits below 1.
  GenerationScheduler(const GenerationLimits& limits, KvBlocks& blocks);

  // Queues it, or says why not (kOverloaded). Throws kInvalidArgument: an empty prompt, max_tokens below 1,
  // more tokens than all blocks hold, an id that is known.
  [[nodiscard]] std::optional<Error> submit(const GenerationRequest& request);

  // What to compute now; empty when there is nothing. `expired` (cleared first) receives those whose
  // deadline has passed, which are gone. Views stay valid until the next call of any method.
  void next_step(int64_t now_us, std::vector<GenerationSpan>& spans, std::vector<uint64_t>& expired);

  // Those that suggest() is for.
  void answering(std::vector<Answering>& texts) const;

  // What may follow, proposed by the next step alone: each token with this chance if those before it are
  // right. It is taken where it is likelier than what the text itself proposes. For one that knows no next
  // step, or does not speculate, nothing happens.
  void suggest(uint64_t id, std::span<const int32_t> tokens, double chance);
  // How likely the text's own next proposal is taken to be right; 0: it has none.
  double own_chance(uint64_t id) const;

  // The step was computed. tokens: what followed, for a span that samples: proposed ones that were accepted,
  // and one more, or none where the model failed. computed: the span's tokens and the accepted ones. The
  // sequence goes on unless finish() is called.
  void advance(uint64_t id, int64_t computed, std::span<const int32_t> tokens);

  // Forgets it, whatever it does; true if it was known. Not between next_step and the step's last advance.
  bool finish(uint64_t id);

  // At which prompts are read, for retry_after_ms; 0: unknown.
  void set_tokens_per_second(double rate) { tokens_per_second_ = rate; }
  void set_row_share(double share) { row_share_ = share; }  // RowCost::share()
  int64_t queued_tokens() const { return queued_tokens_; }
  size_t waiting() const { return waiting_.size(); }
  size_t running() const { return running_.size(); }
  int64_t cached_tokens(uint64_t id) const;  // of its prompt, found when it began; 0 for one that is unknown
  int64_t preemptions() const { return preemptions_; }
  // KvBlocks::check, and its own books. For tests.
  void check() const;

 private:
  struct Entry {
    uint64_t id = 0;
    std::string name;  // of its tenant
    Tenant* tenant = nullptr;
    std::string cache_key;
    std::vector<int32_t> tokens;  // prompt, then what was generated
    int64_t prompt = 0, limit = 0;
    int64_t computed = 0;  // tokens whose keys and values are in its blocks
    int64_t cached = 0;
    int64_t planned = 0;  // in the step that runs
    Priority priority = Priority::kInteractive;
    int64_t arrival_us = 0, deadline_us = 0;
    uint64_t order = 0;
    bool is_running = false;
    KvBlocks::Sequence sequence;
    bool speculates = false;
    NgramIndex ngrams;  // of its tokens
    AcceptanceRecord record;
    std::vector<int32_t> suggested;
    double suggested_chance = 0;
    std::vector<int32_t> proposed;  // in the step that runs
    int64_t rank = 0;               // among the prompts that its tenant reads, while a step is planned
    uint64_t last_read = 0;         // the step that last read some of its prompt

    int64_t left() const { return static_cast<int64_t>(tokens.size()) - computed; }
  };
  // How many tokens to propose for a span.
  struct Proposal {
    Entry* entry;
    size_t span;
    int64_t most, count;
    double chance;  // that the next of them is accepted, with all before it
    bool is_suggested;
  };
  // Of two that wait, who comes first; of two that run, who is preempted last.
  struct Before {
    bool operator()(const Entry* a, const Entry* b) const {
      if (a->priority != b->priority) return a->priority < b->priority;
      if (a->arrival_us != b->arrival_us) return a->arrival_us < b->arrival_us;
      return a->order < b->order;
    }
  };

  void expire(int64_t now_us, std::vector<uint64_t>& expired);
  void stop(Entry& entry);
  bool make_room(Entry& entry, int64_t tokens);
  void plan(Entry& entry, int64_t count, std::vector<GenerationSpan>& spans);
  int64_t plan_answers(int64_t budget, std::vector<GenerationSpan>& spans);
  int64_t plan_prompts(int64_t budget, std::vector<GenerationSpan>& spans);
  void order_readers();
  bool begin_next(bool only_new, int64_t& budget, int64_t sharers, std::vector<GenerationSpan>& spans);
  Entry* next_waiting(bool only_new) const;
  void plan_proposals(int64_t budget, std::vector<GenerationSpan>& spans);
  void choose_rows(int64_t rows, int64_t budget, std::vector<Proposal>& proposals) const;
  void propose(const Proposal& proposal, GenerationSpan& span);
  bool begin(Entry& entry);
  void wait(Entry& entry);
  void leave_queue(Entry& entry, bool begun);
  bool is_full(const Tenant& tenant, int64_t prompt) const;

  GenerationLimits limits_;
  KvBlocks& blocks_;
  std::map<uint64_t, std::unique_ptr<Entry>> entries_;
  std::vector<Entry*> waiting_, running_;  // both in the order of Before
  Tenants tenants_;
  std::array<Turns, kPriorities> turns_;
  std::vector<Entry*> readers_;  // of the step that is planned
  uint64_t steps_ = 0;
  uint64_t next_order_ = 0;
  int64_t queued_tokens_ = 0;  // of those that wait
  int64_t preemptions_ = 0;
  double tokens_per_second_ = 0;
  double row_share_;
  std::vector<Proposal> proposals_;  // of the step that is planned
};

}  // namespace headrace
