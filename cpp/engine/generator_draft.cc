// A generator's draft model: taken in, and asked before each step.
#include <algorithm>

#include "engine/generator.h"

namespace headrace {
namespace {

// Throws unless the same numbers are the same tokens; either may have further ones that are none.
void check_same_tokens(const Tokenizer& large, const Tokenizer& draft, int64_t vocabulary) {
  for (int32_t id = 0; id < vocabulary; ++id) {
    const std::string_view a = large.token(id), b = draft.token(id);
    if (a == b) continue;
    const auto shown = [](std::string_view token) {
      return token.empty() ? "none" : concat("'", token, "'");
    };
    throw Error(ErrorKind::kInvalidArgument,
                concat("the draft model has another vocabulary: its token ", id, " is ", shown(b),
                       ", the model's is ", shown(a), "; give a smaller model of the same family"));
  }
}

}  // namespace

void Generator::add_draft(Draft draft, const GeneratorOptions& options, int64_t blocks) {
  if (options.speculation == 0)
    throw Error(ErrorKind::kInvalidArgument,
                "a draft model has nothing to do where speculation is off: say auto or a number");
  const ModelInfo& own = draft.model->info();
  check_same_tokens(*tokenizer_, *draft.tokenizer, std::max(info().vocabulary, own.vocabulary));
  const double bytes = static_cast<double>(own.weight_bytes) / static_cast<double>(info().weight_bytes);
  drafter_ = std::make_unique<Drafter>(
      std::move(draft.model),
      DraftLimits{.step_tokens = options.step_tokens,
                  .max_sequences = std::min(options.max_sequences, options.step_tokens),
                  .context = std::min(context_, own.max_tokens),
                  .blocks = blocks,
                  .vocabulary = info().vocabulary,
                  .count = options.speculation,
                  .cost = bytes,
                  .kv = kv_},
      pool_.threads(), seeds_());
}

// Asks the draft what may come next. Others may hand in requests meanwhile, and take nothing away.
void Generator::guess(std::unique_lock<std::mutex>& lock) {
  scheduler_->answering(answering_);
  draft_texts_.clear();
  stepping_.clear();
  for (const Answering& text : answering_) {
    stepping_.push_back(streams_.at(text.id));
    const Stream& stream = *stepping_.back();
    draft_texts_.push_back({.id = text.id,
                            .cache_key = text.cache_key,
                            .tokens = text.tokens,
                            .room = text.room,
                            .own_chance = scheduler_->own_chance(text.id),
                            .sampling = &stream.options_.sampling,
                            .counts = &stream.counts_,
                            .generated = stream.generated_tokens()});
  }
  if (draft_texts_.empty()) return;
  lock.unlock();
  drafter_->propose(draft_texts_, row_cost_, pool_, guesses_);
  lock.lock();
  for (const Drafter::Guess& guess : guesses_) scheduler_->suggest(guess.id, guess.tokens, guess.chance);
  metrics_.draft_steps = drafter_->steps();
  metrics_.draft_seconds = drafter_->seconds();
  metrics_.draft_blocks = drafter_->used_blocks();
  drop_cancelled();
}

}  // namespace headrace
