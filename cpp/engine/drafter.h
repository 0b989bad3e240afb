// A smaller model of the same vocabulary that guesses what comes next in every running text (Leviathan et al.
// 2023, arXiv:2211.17192). What it guesses is only proposed: the sampler draws from the large model's logits
// all the same, so texts are what they are without it.
//
//   propose: tokens that the draft has not read yet, all texts in one step -> its draw for each -> one more
//            row for each, k - 1 times
//
// A text's draws are made with the text's own settings, seed and place: where both models agree on the
// probabilities, they draw the same token at any temperature.
//
// How many tokens are worth guessing follows from how often the draft was right in each text and from what
// steps of both models cost, as measured; none where that is not worth it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/threads.h"
#include "batch/kv_blocks.h"
#include "batch/speculation.h"
#include "models/language_model.h"
#include "models/sampler.h"

namespace headrace {

// A text that waits for its next token.
struct DraftText {
  uint64_t id = 0;
  std::string cache_key;            // with whom cached prompts are shared
  std::span<const int32_t> tokens;  // so far, prompt included
  int64_t room = 0;                 // tokens that may come besides the next one
  double own_chance = 0;            // that a proposal without a draft is right
  const SamplingOptions* sampling = nullptr;
  const TokenCounts* counts = nullptr;
  int64_t generated = 0;
};

struct DraftLimits {
  int64_t step_tokens = 256;
  int64_t max_sequences = 64;
  int64_t context = 2048;
  int64_t blocks = 64;
  int64_t vocabulary = 0;  // of the large model
  int64_t count = 0;       // tokens to guess, always; below 0: as many as are worth it
  double cost = 0.2;       // a step's time as a share of the large model's, until it is measured
  KvType kv = KvType::kF32;
};

class Drafter {
 public:
  Drafter(std::unique_ptr<LanguageModel> model, const DraftLimits& limits, int threads, uint64_t key);

  const LanguageModel& model() const { return *model_; }

  // Guesses for some of the texts: id -> tokens, cleared first. large: what the large model's steps cost.
  struct Guess {
    uint64_t id;
    double chance;  // of each token, where those before it are right
    std::vector<int32_t> tokens;
  };
  void propose(std::span<const DraftText> texts, const RowCost& large, ThreadPool& pool,
               std::vector<Guess>& guesses);

  // Of a guess's tokens so many were computed, and so many of them right.
  void observe(uint64_t id, int64_t computed, int64_t accepted);
  void forget(uint64_t id);

  int64_t steps() const { return steps_; }
  double seconds() const { return seconds_; }
  int64_t used_blocks() const { return blocks_.counts().used; }

 private:
  struct State {
    KvBlocks::Sequence sequence;
    std::string cache_key;
    std::vector<int32_t> read;  // whose keys and values are in the blocks
    double accepted = 0, all = 0;
    int64_t sleeps_until = 0, sleep = 0;  // calls of propose(), while it is not worth it
    double chance() const;
  };
  // A text that is guessed for in this call.
  struct Active {
    const DraftText* text;
    State* state;
    int64_t count;
    Guess guess;
    int64_t first = 0;  // of its tokens, to be read in the next step
    int64_t rows = 0;
  };

  void choose(std::span<const DraftText> texts, const RowCost& large);
  int64_t count_worth(const RowCost& large) const;
  bool make_room(Active& active);
  void read_texts();
  void step(ThreadPool& pool);
  void draw(Active& active, size_t row, Sampler& sampler);

  std::unique_ptr<LanguageModel> model_;
  DraftLimits limits_;
  KvBlocks blocks_;
  RowCost cost_;
  bool is_measured_ = false;
  std::unordered_map<uint64_t, State> states_;
  double accepted_ = 0, all_ = 0;  // over all texts: what a new one begins with
  int64_t calls_ = 0, steps_ = 0;
  double seconds_ = 0;

  std::vector<Active> active_;
  std::vector<int32_t> ids_;
  std::vector<StepSpan> spans_;
  std::vector<size_t> drawing_;  // of active_, by row of logits
  std::vector<float> logits_;
  std::vector<Sampler> samplers_;
};

}  // namespace headrace
