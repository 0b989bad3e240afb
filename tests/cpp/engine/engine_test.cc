// The engine with the tiny golden model, and with a model of the test's own where timing or failure matters.
#include "engine/engine.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace headrace {
namespace {

const std::string kDirectory = std::string(HEADRACE_GOLDEN) + "/tiny_bert";

// Answers with the sequence's length; waits at a gate, or fails, as the test says.
class GatedModel final : public Model {
 public:
  struct Controls {
    std::atomic<bool> open{true};
    std::atomic<bool> fail{false};
    std::atomic<int> forwards{0}, broken_off{0};
  };

  explicit GatedModel(Controls& controls) : controls_(controls) {
    info_.dimensions = 1;
    info_.max_tokens = 64;
    info_.vocabulary = 1000;
  }
  const ModelInfo& info() const override { return info_; }
  void reserve(int64_t, int) override {}
  void forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool&) override {
    controls_.forwards.fetch_add(1);
    while (!controls_.open.load()) {
      if (batch.is_unwanted()) {
        controls_.broken_off.fetch_add(1);
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (controls_.fail.load()) throw std::runtime_error("as asked");
    for (int64_t i = 0; i < batch.sequences(); ++i)
      *outputs[i] = static_cast<float>(batch.cu_lengths[i + 1] - batch.cu_lengths[i]);
  }

 private:
  Controls& controls_;
  ModelInfo info_;
};

class Gated : public testing::Test {
 protected:
  Gated() : engine_({.threads = 1, .queue_budget_us = 100'000, .max_batch_tokens = 64}) {
    engine_.add("gated", Tokenizer::from_file(kDirectory + "/tokenizer.json"),
                std::make_unique<GatedModel>(controls_));
  }
  ~Gated() override { controls_.open = true; }

  std::shared_ptr<Ticket> submit(int64_t tokens, SubmitOptions options = {}) {
    const std::vector<std::vector<int32_t>> ids{std::vector<int32_t>(static_cast<size_t>(tokens), 7)};
    return engine_.submit("gated", ids, options);
  }
  bool finished(const Ticket& ticket) { return engine_.wait(ticket, 5'000'000); }
  // Holds the loop inside a forward pass.
  std::shared_ptr<Ticket> block() {
    controls_.open = false;
    const int before = controls_.forwards.load();
    auto ticket = submit(1);
    while (controls_.forwards.load() == before) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return ticket;
  }

  GatedModel::Controls controls_;
  Engine engine_;
};

ErrorKind kind_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::kInternal;
}

TEST_F(Gated, answers) {
  const auto ticket = submit(5);
  ASSERT_TRUE(finished(*ticket));
  ASSERT_EQ(ticket->state(), Ticket::State::kDone);
  EXPECT_EQ(ticket->vectors()[0], 5.0f);
  EXPECT_EQ(ticket->tokens(), 5);
}

TEST_F(Gated, a_cancelled_request_never_runs) {
  const auto first = block();
  const auto second = submit(3);
  engine_.cancel("gated", second->id());
  ASSERT_EQ(second->state(), Ticket::State::kFailed);
  EXPECT_EQ(second->error().kind(), ErrorKind::kCancelled);
  const int before = controls_.forwards.load();
  controls_.open = true;
  ASSERT_TRUE(finished(*first));
  EXPECT_EQ(first->state(), Ticket::State::kDone);
  EXPECT_TRUE(finished(*submit(1)));
  EXPECT_EQ(controls_.forwards.load(), before + 1);
  EXPECT_EQ(engine_.metrics("gated").cancelled, 1);
}

TEST_F(Gated, a_request_cancelled_while_it_runs_harms_nobody) {
  const auto first = block();
  engine_.cancel("gated", first->id());
  EXPECT_EQ(first->state(), Ticket::State::kFailed);
  controls_.open = true;
  const auto next = submit(2);
  ASSERT_TRUE(finished(*next));
  EXPECT_EQ(next->vectors()[0], 2.0f);
}

TEST_F(Gated, a_batch_that_nobody_waits_for_is_broken_off) {
  const auto first = block();
  const auto second = submit(2), third = submit(3);
  const auto wait_for = [](const std::atomic<int>& count, int wanted) {
    for (int i = 0; i < 5000 && count.load() < wanted; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return count.load();
  };
  engine_.cancel("gated", first->id());
  EXPECT_EQ(wait_for(controls_.broken_off, 1), 1);
  EXPECT_EQ(wait_for(controls_.forwards, 2), 2) << "the next batch, of both others";
  engine_.cancel("gated", second->id());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(controls_.broken_off.load(), 1) << "somebody waits";
  engine_.cancel("gated", third->id());
  EXPECT_EQ(wait_for(controls_.broken_off, 2), 2);
  EXPECT_EQ(engine_.metrics("gated").tokens, 0) << "what was broken off is not counted as done";
  controls_.open = true;
  ASSERT_TRUE(finished(*submit(4)));
}

TEST_F(Gated, a_deadline_that_passes_in_the_queue_is_reported) {
  const auto first = block();
  const auto late = submit(3, {.timeout_us = 1000});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  controls_.open = true;
  ASSERT_TRUE(finished(*late));
  ASSERT_EQ(late->state(), Ticket::State::kFailed);
  EXPECT_EQ(late->error().kind(), ErrorKind::kDeadline);
  EXPECT_TRUE(finished(*first));
  EXPECT_EQ(engine_.metrics("gated").expired, 1);
}

TEST_F(Gated, more_than_the_queue_budget_is_refused_at_once) {
  ASSERT_TRUE(finished(*submit(64)));  // the engine now knows its speed
  const auto first = block();
  controls_.open = true;
  ASSERT_TRUE(finished(*first));
  block();
  std::vector<std::shared_ptr<Ticket>> admitted;
  std::shared_ptr<Ticket> refused;
  const auto completions = std::make_shared<CompletionQueue>();
  for (int i = 0; i < 3'000'000 && !refused; ++i) {
    auto ticket = submit(64, {.completions = completions});
    (ticket->state() == Ticket::State::kFailed ? refused : admitted.emplace_back()) = ticket;
  }
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->error().kind(), ErrorKind::kOverloaded);
  EXPECT_GT(refused->error().retry_after_ms(), 0);
  EXPECT_FALSE(admitted.empty());
  EXPECT_EQ(engine_.metrics("gated").refused, 1);
  EXPECT_TRUE(completions->drain().empty()) << "who was refused knows it already";
  // A text longer than the model allows is not even tokenised now: the queue is full whatever its size.
  const std::string words = "water " + std::string(1000, 'a');
  const std::vector<std::string_view> texts{words};
  while (submit(1)->state() == Ticket::State::kPending) continue;
  const auto untouched = engine_.submit("gated", texts, {});
  ASSERT_EQ(untouched->state(), Ticket::State::kFailed);
  EXPECT_EQ(untouched->error().kind(), ErrorKind::kOverloaded);
  EXPECT_EQ(engine_.metrics("gated").refused, 3);
  // Offline work waits instead.
  EXPECT_EQ(submit(64, {.admission = Admission::kWait})->state(), Ticket::State::kPending);
  engine_.remove("gated");
  controls_.open = true;
}

TEST_F(Gated, a_failed_batch_takes_only_its_own_requests_along) {
  controls_.fail = true;
  const auto bad = submit(3);
  ASSERT_TRUE(finished(*bad));
  ASSERT_EQ(bad->state(), Ticket::State::kFailed);
  EXPECT_EQ(bad->error().kind(), ErrorKind::kInternal);
  controls_.fail = false;
  const auto good = submit(4);
  ASSERT_TRUE(finished(*good));
  EXPECT_EQ(good->state(), Ticket::State::kDone);
  EXPECT_EQ(engine_.metrics("gated").failed, 1);
}

TEST_F(Gated, removing_a_model_fails_what_is_queued) {
  const auto first = block();
  const auto queued = submit(3);
  engine_.remove("gated");
  EXPECT_EQ(queued->error().kind(), ErrorKind::kCancelled);
  EXPECT_EQ(kind_of([&] { submit(1); }), ErrorKind::kNotFound);
  controls_.open = true;
}

TEST_F(Gated, close_with_drain_finishes_the_queue) {
  const auto first = block();
  std::vector<std::shared_ptr<Ticket>> queued;
  for (int i = 0; i < 20; ++i) queued.push_back(submit(i + 1));
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    controls_.open = true;
  });
  engine_.close(true);
  opener.join();
  for (const auto& ticket : queued) EXPECT_EQ(ticket->state(), Ticket::State::kDone);
  EXPECT_EQ(kind_of([&] { submit(1); }), ErrorKind::kCancelled);
}

TEST_F(Gated, close_without_drain_fails_the_queue) {
  block();
  const auto queued = submit(3);
  std::thread opener([&] {
    while (queued->state() == Ticket::State::kPending)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    controls_.open = true;
  });
  engine_.close(false);
  opener.join();
  EXPECT_EQ(queued->error().kind(), ErrorKind::kCancelled);
}

TEST_F(Gated, one_wake_tells_of_all_that_a_batch_finished) {
  const auto completions = std::make_shared<CompletionQueue>();
  const auto first = block();
  std::vector<uint64_t> expected;
  for (int i = 0; i < 5; ++i) expected.push_back(submit(2, {.completions = completions})->id());
  controls_.open = true;
  std::vector<uint64_t> got;
  while (got.size() < expected.size()) {
    pollfd waiting{completions->fd(), POLLIN, 0};
    ASSERT_EQ(poll(&waiting, 1, 5000), 1);
    const auto batch = completions->drain();
    got.insert(got.end(), batch.begin(), batch.end());
  }
  std::sort(got.begin(), got.end());
  EXPECT_EQ(got, expected);
  pollfd waiting{completions->fd(), POLLIN, 0};
  EXPECT_EQ(poll(&waiting, 1, 0), 0);
}

TEST_F(Gated, bad_requests_are_refused_by_kind_and_leave_no_trace) {
  using Ids = std::vector<std::vector<int32_t>>;
  const auto with = [&](const Ids& ids) { return kind_of([&] { engine_.submit("gated", ids, {}); }); };
  EXPECT_EQ(with({}), ErrorKind::kInvalidArgument);
  EXPECT_EQ(with({{}}), ErrorKind::kInvalidArgument);
  EXPECT_EQ(with({{-1}}), ErrorKind::kInvalidArgument);
  EXPECT_EQ(with({{1000}}), ErrorKind::kInvalidArgument);
  EXPECT_EQ(with({std::vector<int32_t>(65, 1)}), ErrorKind::kInvalidArgument);
  const std::string_view bad[] = {"fine", "\xff", ""};
  EXPECT_EQ(kind_of([&] { engine_.submit("gated", bad, {}); }), ErrorKind::kInvalidArgument);
  EXPECT_EQ(kind_of([&] { engine_.submit("gone", Ids{{1}}, {}); }), ErrorKind::kNotFound);
  EXPECT_EQ(kind_of([&] { engine_.add("gated", kDirectory); }), ErrorKind::kInvalidArgument);
  EXPECT_EQ(kind_of([&] { engine_.add("../x", kDirectory); }), ErrorKind::kInvalidArgument);
  EXPECT_EQ(engine_.metrics("gated").requests, 0);
}

TEST_F(Gated, over_long_input_is_cut_only_when_asked) {
  const std::string text(200, '.');
  const std::string_view texts[] = {text, "the river"};
  try {
    engine_.submit("gated", texts, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "context_length_exceeded");
  }
  const auto ticket = engine_.submit("gated", texts, {.truncate = true});
  ASSERT_TRUE(finished(*ticket));
  EXPECT_EQ(ticket->truncated(), 1);
  EXPECT_EQ(ticket->vectors()[0], 64.0f);
}

TEST(EngineWithEncoder, many_threads_get_their_own_bits) {
  Engine engine({.threads = 2, .max_batch_tokens = 64});
  engine.add("tiny", kDirectory);
  engine.add("twin", kDirectory);
  const std::string_view texts[] = {"the headrace leads water to the wheel", "a mill", "rivers running"};
  const auto reference = engine.submit("tiny", texts, {});
  ASSERT_TRUE(engine.wait(*reference, 5'000'000));
  std::atomic<int> wrong{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < 4; ++t)
    clients.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const size_t which = static_cast<size_t>(t + i) % 3;
        const auto ticket = engine.submit(i % 2 ? "tiny" : "twin", std::span(texts).subspan(which, 1),
                                          {.admission = Admission::kWait});
        if (!engine.wait(*ticket, 5'000'000) || ticket->state() != Ticket::State::kDone ||
            !std::equal(ticket->vectors(), ticket->vectors() + 24, reference->vectors() + which * 24))
          wrong.fetch_add(1);
      }
    });
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(engine.metrics("tiny").sequences + engine.metrics("twin").sequences, 203);
}

}  // namespace
}  // namespace headrace
