// The scheduler of generation by random lives with invariants.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "batch/generation_scheduler.h"

namespace headrace {
namespace {

// One request's life as its caller sees it.
struct Life {
  std::vector<int32_t> tokens;
  int64_t generated = 0, max_tokens = 0, computed = 0, deadline = 0;
  int ends = 0;
};

int64_t accepted_in_all = 0;

void live(uint32_t seed) {
  std::mt19937 random(seed);
  const auto up_to = [&](uint32_t n) { return static_cast<int64_t>(random() % n); };
  KvBlocks blocks(4 + up_to(20), seed);
  const GenerationLimits limits{.step_tokens = 1 + up_to(120),
                                .max_sequences = 1 + up_to(8),
                                .max_queue_tokens = 100 + up_to(400),
                                .speculation = up_to(4) == 0 ? 0 : up_to(10) - 1};
  GenerationScheduler scheduler(limits, blocks);
  std::map<uint64_t, Life> lives;
  uint64_t next = 1;
  int64_t refused = 0;
  std::vector<GenerationSpan> spans;
  std::vector<uint64_t> expired;
  const auto end = [&](uint64_t id) { ASSERT_EQ(++lives[id].ends, 1) << "two ends of " << id; };
  for (int64_t now = 1; now < 4000; ++now) {
    const bool is_open = now < 60;
    if (is_open && up_to(3) == 0) {
      Life life;
      for (int64_t i = 0, n = 1 + up_to(120); i < n; ++i) life.tokens.push_back(static_cast<int32_t>(i / 50));
      life.max_tokens = 1 + up_to(40);
      life.deadline = up_to(8) == 0 ? now + 1 + up_to(30) : 0;
      try {
        const auto error = scheduler.submit({.id = next,
                                             .tenant = up_to(2) ? "a" : concat("b", up_to(5)),
                                             .variant = static_cast<uint64_t>(up_to(4) == 0),
                                             .prompt = life.tokens,
                                             .max_tokens = life.max_tokens,
                                             .priority = static_cast<Priority>(up_to(3)),
                                             .arrival_us = now,
                                             .deadline_us = life.deadline,
                                             .speculates = up_to(5) > 0});
        if (error) {
          ASSERT_EQ(error->kind(), ErrorKind::kOverloaded);
          ++refused;
        } else {
          lives[next++] = std::move(life);
        }
      } catch (const Error& error) {
        ASSERT_EQ(error.kind(), ErrorKind::kInvalidArgument);
      }
    }
    if (is_open && up_to(20) == 0 && next > 1) {
      const uint64_t id = 1 + random() % (next - 1);
      const bool was_alive = lives[id].ends == 0;
      ASSERT_EQ(scheduler.finish(id), was_alive);
      if (was_alive) end(id);
    }
    if (next > 1 && up_to(3) == 0) {
      const std::vector<int32_t> guess(static_cast<size_t>(up_to(12)), 1);
      scheduler.suggest(1 + random() % (next - 1), guess, 0.7);
    }
    scheduler.next_step(now, spans, expired);
    for (const uint64_t id : expired) {
      ASSERT_GT(lives[id].deadline, 0);
      ASSERT_LE(lives[id].deadline, now);
      end(id);
    }
    int64_t total = 0;
    std::map<uint64_t, int> seen;
    for (const GenerationSpan& span : spans) {
      const Life& life = lives[span.id];
      ASSERT_EQ(++seen[span.id], 1) << "twice in a step";
      ASSERT_GE(span.tokens.size(), 1u);
      total += static_cast<int64_t>(span.tokens.size() + span.proposed.size());
      const auto stop = span.position + static_cast<int64_t>(span.tokens.size());
      ASSERT_LE(stop, static_cast<int64_t>(life.tokens.size()));
      ASSERT_EQ(span.samples, stop == static_cast<int64_t>(life.tokens.size()));
      ASSERT_TRUE(std::equal(span.tokens.begin(), span.tokens.end(), life.tokens.begin() + span.position));
      const auto proposed = static_cast<int64_t>(span.proposed.size());
      ASSERT_GE(static_cast<int64_t>(span.blocks.size()) * KvBlocks::kBlockTokens, stop + proposed);
      ASSERT_TRUE(proposed == 0 || span.samples);
      ASSERT_LT(life.generated + proposed, life.max_tokens);
      if (limits.speculation >= 0) {
        ASSERT_LE(proposed, limits.speculation);
      }
    }
    ASSERT_LE(total, limits.step_tokens);
    if (spans.empty()) {
      ASSERT_EQ(scheduler.waiting() + scheduler.running(), 0u) << "nothing is done though something waits";
      if (!is_open) break;
    }
    const auto ran = spans;
    for (const GenerationSpan& span : ran) {
      Life& life = lives[span.id];
      const auto count = static_cast<int64_t>(span.tokens.size());
      std::vector<int32_t> drawn;
      if (span.samples) {
        const auto accepted = up_to(1 + static_cast<uint32_t>(span.proposed.size()));
        drawn.assign(span.proposed.begin(), span.proposed.begin() + accepted);
        drawn.push_back(static_cast<int32_t>(random() % 3));
        accepted_in_all += accepted;
      }
      const auto tokens = static_cast<int64_t>(drawn.size());
      scheduler.advance(span.id, count + std::max<int64_t>(0, tokens - 1), drawn);
      if (drawn.empty()) continue;
      life.tokens.insert(life.tokens.end(), drawn.begin(), drawn.end());
      life.generated += tokens;
      ASSERT_LE(life.generated, life.max_tokens);
      if (life.generated == life.max_tokens || up_to(15) == 0) {
        ASSERT_TRUE(scheduler.finish(span.id));
        end(span.id);
      }
    }
    ASSERT_NO_THROW(scheduler.check());
  }
  ASSERT_EQ(scheduler.waiting() + scheduler.running(), 0u) << "not all came to an end";
  for (const auto& [id, life] : lives) ASSERT_EQ(life.ends, 1);
  ASSERT_EQ(blocks.free(), blocks.counts().blocks);
}

TEST(GenerationScheduler, random_lives) {
  for (uint32_t seed = 0; seed < 10'000; ++seed) {
    live(seed);
    if (HasFatalFailure()) FAIL() << "seed " << seed;
  }
  EXPECT_GT(accepted_in_all, 10'000);
}

}  // namespace
}  // namespace headrace
