// The scheduler of generation by traces of a few lines.
#include "batch/generation_scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

namespace headrace {
namespace {

// A line of a trace:
//   submit 1 prompt=40 max=5 [priority=1] [tenant=b] [deadline=9]    -> ok | overloaded
//   step [t=7] [accept=2]                                            -> 1:40* 2:8     id:tokens, * if it
//   finish 1                                                            samples, +n for n proposed tokens
// Every token that samples gives the next one, 1000 + how many there were; ends at max.
class Trace {
 public:
  Trace(const GenerationLimits& limits, int64_t blocks) : blocks_(blocks), scheduler_(limits, blocks_) {}

  std::string run(const std::string& line) {
    std::istringstream in(line);
    std::string verb;
    in >> verb;
    std::string answer = verb == "submit" ? submit(in) : verb == "step" ? step(in) : finish(in);
    scheduler_.check();
    return answer;
  }
  GenerationScheduler& scheduler() { return scheduler_; }
  const KvBlocks& blocks() const { return blocks_; }

 private:
  static std::map<std::string, std::string> fields(std::istringstream& in) {
    std::map<std::string, std::string> found;
    for (std::string word; in >> word;)
      found[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    return found;
  }

  std::string submit(std::istringstream& in) {
    uint64_t id;
    in >> id;
    auto f = fields(in);
    // Prompts with one `text` begin alike.
    std::vector<int32_t> prompt(static_cast<size_t>(std::stoi(f["prompt"])));
    std::iota(prompt.begin(), prompt.end(),
              f.contains("text") ? 1000 * std::stoi(f["text"]) : 1000 * int(id));
    left_[id] = std::stoi(f["max"]);
    const auto refused = scheduler_.submit(
        {.id = id,
         .tenant = f["tenant"],
         .prompt = prompt,
         .max_tokens = left_[id],
         .priority = static_cast<Priority>(f.contains("priority") ? std::stoi(f["priority"]) : 0),
         .arrival_us = ++arrivals_,
         .deadline_us = f.contains("deadline") ? std::stoi(f["deadline"]) : 0});
    return refused ? "overloaded" : "ok";
  }

  std::string step(std::istringstream& in) {
    auto f = fields(in);
    std::vector<uint64_t> expired;
    scheduler_.next_step(f.contains("t") ? std::stoi(f["t"]) : 0, spans_, expired);
    std::string answer;
    for (const uint64_t id : expired) answer += concat(answer.empty() ? "" : " ", "expired:", id);
    for (const GenerationSpan& span : spans_) {
      answer += concat(answer.empty() ? "" : " ", span.id, ":", span.tokens.size(), span.samples ? "*" : "");
      if (span.position > 0 && !span.samples) answer += concat("@", span.position);
      if (!span.proposed.empty()) answer += concat("+", span.proposed.size());
    }
    const auto ran = spans_;
    for (const GenerationSpan& span : ran) {
      const auto count = static_cast<int64_t>(span.tokens.size());
      std::vector<int32_t> drawn;
      if (span.samples) {
        const size_t accepted = f.contains("accept") ? std::stoul(f["accept"]) : 0;
        drawn.assign(span.proposed.begin(), span.proposed.begin() + std::min(accepted, span.proposed.size()));
        drawn.push_back(9);
      }
      scheduler_.advance(span.id, count + (drawn.empty() ? 0 : static_cast<int64_t>(drawn.size()) - 1),
                         drawn);
      if (span.samples && (left_[span.id] -= int(drawn.size())) == 0) scheduler_.finish(span.id);
    }
    return answer;
  }

  std::string finish(std::istringstream& in) {
    uint64_t id;
    in >> id;
    return scheduler_.finish(id) ? "gone" : "unknown";
  }

  KvBlocks blocks_;
  GenerationScheduler scheduler_;
  std::vector<GenerationSpan> spans_;
  std::map<uint64_t, int> left_;
  int64_t arrivals_ = 0;
};

TEST(GenerationScheduler, a_long_prompt_is_read_in_pieces_while_answers_go_on) {
  Trace trace({.step_tokens = 64}, 20);
  trace.run("submit 1 prompt=10 max=9");
  EXPECT_EQ(trace.run("step"), "1:10*");
  trace.run("submit 2 prompt=150 max=2");
  EXPECT_EQ(trace.run("step"), "1:1* 2:63");
  EXPECT_EQ(trace.run("step"), "1:1* 2:63@63");
  EXPECT_EQ(trace.run("step"), "1:1* 2:24*");
  EXPECT_EQ(trace.run("step"), "1:1* 2:1*");
  EXPECT_EQ(trace.run("step"), "1:1*");
}

TEST(GenerationScheduler, prompts_share_what_is_left) {
  Trace trace({.step_tokens = 100}, 40);
  trace.run("submit 1 prompt=300 max=1");
  trace.run("submit 2 prompt=40 max=1");
  EXPECT_EQ(trace.run("step"), "1:50 2:40*");
  EXPECT_EQ(trace.run("step"), "1:100@50");
}

TEST(GenerationScheduler, the_prompt_that_was_read_before_is_not_read_again) {
  Trace trace({.step_tokens = 100}, 20);
  trace.run("submit 1 prompt=70 max=1 text=5");
  EXPECT_EQ(trace.run("step"), "1:70*");
  trace.run("submit 2 prompt=70 max=1 text=5");
  EXPECT_EQ(trace.run("step"), "2:6*");
  trace.run("submit 3 prompt=70 max=1 text=5 tenant=other");
  EXPECT_EQ(trace.run("step"), "3:70*");
}

TEST(GenerationScheduler, priority_goes_first_and_is_preempted_last) {
  Trace trace({.step_tokens = 100}, 4);
  trace.run("submit 1 prompt=31 max=90 priority=1");
  EXPECT_EQ(trace.run("step"), "1:31*");
  trace.run("submit 2 prompt=63 max=40");
  EXPECT_EQ(trace.run("step"), "1:1* 2:63*");
  EXPECT_EQ(trace.run("step"), "2:1* 1:1*");
  EXPECT_EQ(trace.scheduler().preemptions(), 0);
  EXPECT_EQ(trace.run("step"), "2:1*") << "2 has its third block, which was 1's";
  EXPECT_EQ(trace.scheduler().preemptions(), 1);
  EXPECT_EQ(trace.scheduler().waiting(), 1u);
  EXPECT_EQ(trace.run("finish 2"), "gone");
  EXPECT_EQ(trace.run("step"), "1:2*") << "34 tokens, of which the first block was still there";
}

TEST(GenerationScheduler, a_full_queue_refuses_and_a_deadline_ends) {
  Trace trace({.step_tokens = 10, .max_sequences = 1, .max_queue_tokens = 50}, 20);
  EXPECT_EQ(trace.run("submit 1 prompt=10 max=9"), "ok");
  EXPECT_EQ(trace.run("step"), "1:10*");
  EXPECT_EQ(trace.run("submit 2 prompt=40 max=9 deadline=5"), "ok");
  EXPECT_EQ(trace.run("submit 3 prompt=11 max=9"), "overloaded");
  EXPECT_EQ(trace.run("submit 4 prompt=10 max=9"), "ok");
  EXPECT_EQ(trace.run("step t=5"), "expired:2 1:1*");
  EXPECT_EQ(trace.run("finish 1"), "gone");
  EXPECT_EQ(trace.run("finish 1"), "unknown");
  EXPECT_EQ(trace.run("step"), "4:10*");
}

TEST(GenerationScheduler, what_was_said_before_is_proposed) {
  Trace trace({.step_tokens = 100, .speculation = 4}, 20);
  trace.run("submit 1 prompt=10 max=30");
  EXPECT_EQ(trace.run("step"), "1:10*");
  EXPECT_EQ(trace.run("step"), "1:1*");
  EXPECT_EQ(trace.run("step"), "1:1*") << "9 9, for the first time";
  EXPECT_EQ(trace.run("step accept=4"), "1:1*+4");
  EXPECT_EQ(trace.run("step accept=1"), "1:1*+4");
  EXPECT_EQ(trace.run("step"), "1:1*+4");
}

TEST(GenerationScheduler, no_more_is_proposed_than_may_come) {
  Trace trace({.step_tokens = 100, .speculation = 8}, 20);
  trace.run("submit 1 prompt=10 max=9");
  for (int i = 0; i < 3; ++i) trace.run("step");
  EXPECT_EQ(trace.run("step accept=2"), "1:1*+5");
  EXPECT_EQ(trace.run("step accept=1"), "1:1*+2");
  EXPECT_EQ(trace.run("step"), "1:1*") << "the last token is never computed";
  EXPECT_EQ(trace.run("finish 1"), "unknown");
}

TEST(GenerationScheduler, proposals_take_what_is_left) {
  Trace trace({.step_tokens = 36, .speculation = 8}, 3);
  trace.run("submit 1 prompt=20 max=40");
  for (int i = 0; i < 3; ++i) trace.run("step");
  trace.run("submit 2 prompt=33 max=9");
  EXPECT_EQ(trace.run("step"), "1:1*+2 2:33*") << "of the budget";
  for (int i = 0; i < 3; ++i) trace.run("step accept=1");
  EXPECT_EQ(trace.run("step accept=8"), "1:1*+2 2:1*+3") << "of 1's block; and 2 ends soon";
  EXPECT_EQ(trace.scheduler().preemptions(), 0);
}

TEST(GenerationScheduler, adaptive_proposals_stop_where_they_fail_and_where_many_run) {
  Trace trace({.step_tokens = 400, .speculation = kAdaptiveSpeculation}, 200);
  trace.run("submit 1 prompt=10 max=1500");
  std::string last;
  for (int i = 0; i < 30; ++i) last = trace.run("step accept=99");
  EXPECT_NE(last.find('+'), std::string::npos);
  for (uint64_t id = 2; id < 42; ++id) trace.run(concat("submit ", id, " prompt=5 max=400"));
  for (int i = 0; i < 6; ++i) last = trace.run("step accept=99");
  EXPECT_EQ(last.find('+'), std::string::npos) << last;
}

TEST(GenerationScheduler, tenants_take_turns_to_begin) {
  Trace trace({.step_tokens = 32, .max_sequences = 1, .max_queue_tokens = 100'000}, 400);
  for (uint64_t id = 1; id <= 1000; ++id) trace.run(concat("submit ", id, " prompt=32 max=1 tenant=a"));
  EXPECT_EQ(trace.run("step"), "1:32*");
  EXPECT_EQ(trace.run("step"), "2:32*");
  trace.run("submit 2001 prompt=32 max=1 tenant=b");
  trace.run("submit 2002 prompt=32 max=1 tenant=b");
  trace.run("submit 2003 prompt=32 max=1 tenant=c");
  EXPECT_EQ(trace.run("step"), "3:32*") << "a's turn was next";
  EXPECT_EQ(trace.run("step"), "2001:32*");
  EXPECT_EQ(trace.run("step"), "2003:32*");
  EXPECT_EQ(trace.run("step"), "4:32*");
  EXPECT_EQ(trace.run("step"), "2002:32*");
  EXPECT_EQ(trace.run("step"), "5:32*");
  EXPECT_EQ(trace.run("step"), "6:32*");
  // A turn is one of a priority.
  trace.run("submit 2004 prompt=32 max=1 tenant=b priority=1");
  for (int i = 7; i <= 1000; ++i) trace.run("step");
  EXPECT_EQ(trace.run("step"), "2004:32*");
  EXPECT_EQ(trace.run("step"), "");
}

TEST(GenerationScheduler, who_reads_many_long_prompts_does_not_keep_others_from_theirs) {
  Trace trace({.step_tokens = 128}, 4000);
  for (uint64_t id = 1; id <= 30; ++id) trace.run(concat("submit ", id, " prompt=2000 max=1 tenant=a"));
  EXPECT_EQ(trace.run("step"), "1:32 2:32 3:32 4:32");
  EXPECT_EQ(trace.run("step"), "1:32@32 2:32@32 3:32@32 4:32@32");
  trace.run("submit 101 prompt=20 max=1 tenant=b");
  EXPECT_EQ(trace.run("step"), "101:20* 1:32@64 2:32@64 3:32@64 4:12@64");
  trace.run("submit 102 prompt=150 max=1 tenant=b");
  trace.run("submit 103 prompt=150 max=1 tenant=b priority=1");
  EXPECT_EQ(trace.run("step"), "102:32 1:32@96 2:32@96 3:32@96");
  EXPECT_EQ(trace.run("step"), "1:32@128 102:32@32 2:32@128 3:32@128") << "it does not begin a second one";
}

TEST(GenerationScheduler, a_full_queue_has_room_for_who_has_little_in_it) {
  Trace trace({.step_tokens = 10, .max_sequences = 1, .max_queue_tokens = 100}, 20);
  for (uint64_t id = 1; id <= 10; ++id)
    EXPECT_EQ(trace.run(concat("submit ", id, " prompt=10 max=9 tenant=a")), "ok");
  EXPECT_EQ(trace.run("submit 11 prompt=10 max=9 tenant=a"), "overloaded");
  EXPECT_EQ(trace.run("submit 12 prompt=40 max=9 tenant=b"), "ok");
  EXPECT_EQ(trace.run("submit 13 prompt=20 max=9 tenant=b"), "overloaded") << "its part is a half";
  EXPECT_EQ(trace.run("submit 14 prompt=10 max=9 tenant=b"), "ok");
  EXPECT_EQ(trace.run("submit 15 prompt=34 max=9 tenant=c"), "overloaded") << "its part is a third";
  EXPECT_EQ(trace.run("submit 16 prompt=33 max=9 tenant=c"), "ok");
  EXPECT_EQ(trace.run("submit 17 prompt=10 max=9 tenant=a"), "overloaded");
}

TEST(GenerationScheduler, a_variant_finds_no_prompts_of_another) {
  KvBlocks blocks(20);
  GenerationScheduler scheduler({.step_tokens = 100}, blocks);
  std::vector<int32_t> prompt(70);
  std::vector<GenerationSpan> spans;
  std::vector<uint64_t> expired;
  const std::vector<int32_t> drawn{1};
  const auto read = [&](uint64_t id, uint64_t variant) {
    EXPECT_FALSE(
        scheduler.submit({.id = id, .tenant = "a", .variant = variant, .prompt = prompt, .max_tokens = 1}));
    scheduler.next_step(0, spans, expired);
    const size_t count = spans.at(0).tokens.size();
    scheduler.advance(id, static_cast<int64_t>(count), drawn);
    scheduler.finish(id);
    return count;
  };
  EXPECT_EQ(read(1, 0), 70u);
  EXPECT_EQ(read(2, 7), 70u);
  EXPECT_EQ(read(3, 0), 6u);
  EXPECT_EQ(read(4, 7), 6u);
}

TEST(GenerationScheduler, a_suggestion_is_proposed_once_where_it_is_likelier) {
  Trace trace({.step_tokens = 100, .speculation = 4}, 20);
  trace.run("submit 1 prompt=10 max=30");
  const std::vector<int32_t> guess{7, 8, 9, 10, 11, 12};
  trace.scheduler().suggest(1, guess, 0.9);
  EXPECT_EQ(trace.run("step"), "1:10*") << "it does not run yet";
  trace.scheduler().suggest(99, guess, 0.9);
  trace.scheduler().suggest(1, guess, 0.9);
  EXPECT_EQ(trace.run("step accept=2"), "1:1*+4");
  EXPECT_EQ(trace.run("step"), "1:1*");
  trace.scheduler().suggest(1, std::span(guess).first(2), 0.9);
  EXPECT_EQ(trace.run("step"), "1:1*+2");
  EXPECT_GT(trace.scheduler().own_chance(1), 0) << "9 9 was there before";
  trace.scheduler().suggest(1, std::span(guess).first(2), 0.01);
  EXPECT_EQ(trace.run("step"), "1:1*+4") << "its own proposal is likelier";
}

TEST(GenerationScheduler, what_can_never_fit_is_refused_at_once) {
  Trace trace({}, 2);
  EXPECT_THROW(trace.run("submit 1 prompt=64 max=2"), Error);
  EXPECT_EQ(trace.run("submit 2 prompt=64 max=1"), "ok");
  EXPECT_THROW(trace.run("submit 2 prompt=6 max=1"), Error);
  EXPECT_THROW(trace.run("submit 3 prompt=0 max=1"), Error);
  EXPECT_THROW(trace.run("submit 3 prompt=1 max=0"), Error);
}

}  // namespace
}  // namespace headrace
