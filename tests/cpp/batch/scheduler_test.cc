// The stories in tests/golden/scheduler/*.trace (its README has the format). Random histories are in
// scheduler_random_test.cc.
#include "batch/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>

#include "base/error.h"

namespace headrace {
namespace {

// Replays one trace and compares every line's outcome.
class Replay {
 public:
  // What happened on `line`, in the words of the format: "[a b]", "invalid", "" when there is nothing to say.
  std::string run(const std::string& line) {
    std::istringstream in(line);
    std::string word;
    in >> word;
    if (word == "limits") return limits(in);
    if (!word.starts_with("t=")) throw std::runtime_error("a line starts with limits or t=");
    now_us_ = std::stoll(word.substr(2));
    in >> word;
    if (word == "submit") return submit(in);
    if (word == "tick") return tick();
    if (word == "finish") return finish();
    if (word == "cancel") return in >> word, scheduler().cancel(id(word)) ? "yes" : "no";
    if (word == "queue") return in >> word, scheduler().set_max_queue_tokens(std::stoll(word)), "";
    if (word == "state") return "";
    throw std::runtime_error("unknown event " + word);
  }

  std::string state() {
    return concat("queued=", scheduler().queued_tokens(), " requests=", scheduler().queued_requests(),
                  " running=", scheduler().running_tokens());
  }

 private:
  static uint64_t id(const std::string& name) { return static_cast<uint64_t>(name.at(0)); }
  Scheduler& scheduler() { return *scheduler_; }

  static std::pair<std::string, std::string> key_value(const std::string& word) {
    const size_t at = word.find('=');
    if (at == std::string::npos) return {word, ""};
    return {word.substr(0, at), word.substr(at + 1)};
  }

  std::string limits(std::istringstream& in) {
    SchedulerLimits limits;
    double rate = 0;
    for (std::string word; in >> word;) {
      const auto [key, value] = key_value(word);
      if (key == "tokens") {
        limits.max_batch_tokens = std::stoll(value);
      } else if (key == "sequences") {
        limits.max_batch_sequences = std::stoll(value);
      } else if (key == "queue") {
        limits.max_queue_tokens = std::stoll(value);
      } else if (key == "aging") {
        limits.aging_us = std::stoll(value);
      } else if (key == "rate") {
        rate = std::stod(value);
      } else {
        throw std::runtime_error("unknown limit " + word);
      }
    }
    scheduler_ = std::make_unique<Scheduler>(limits);
    scheduler_->set_tokens_per_second(rate);
    return "";
  }

  std::string submit(std::istringstream& in) {
    std::string name;
    std::string lengths;
    in >> name >> lengths;
    std::vector<int32_t> tokens;
    if (lengths != "none") {
      std::istringstream list(lengths);
      for (std::string one; std::getline(list, one, ',');) tokens.push_back(std::stoi(one));
    }
    Request request;
    request.id = id(name);
    request.lengths = tokens;
    request.arrival_us = now_us_;
    for (std::string word; in >> word;) {
      const auto [key, value] = key_value(word);
      if (word == "wait") {
        request.admission = Admission::kWait;
      } else if (key == "deadline") {
        request.deadline_us = std::stoll(value);
      } else if (word == "priority=normal") {
        request.priority = Priority::kNormal;
      } else if (word == "priority=batch") {
        request.priority = Priority::kBatch;
      } else {
        throw std::runtime_error("unknown option " + word);
      }
    }
    const std::string before = state();
    const int64_t all_tokens = std::accumulate(tokens.begin(), tokens.end(), int64_t{0});
    const auto sure = scheduler().refusal_of_any(std::max<int64_t>(1, all_tokens), all_tokens);
    try {
      if (const auto full = scheduler().submit(request)) {
        EXPECT_EQ(state(), before) << "a refused request must leave no trace";
        EXPECT_EQ(full->kind(), ErrorKind::kOverloaded);
        return concat("overloaded ", full->retry_after_ms());
      }
    } catch (const Error& error) {
      EXPECT_EQ(state(), before) << "a refused request must leave no trace";
      return error.kind() == ErrorKind::kInvalidArgument ? "invalid" : error.message();
    }
    EXPECT_FALSE(sure && request.admission == Admission::kRefuse) << "what was sure to be refused was taken";
    counts_[request.id] = tokens.size();
    return "";
  }

  std::string tick() {
    Batch batch;
    std::vector<uint64_t> expired;
    scheduler().next_batch(now_us_, batch, expired);
    std::string out = "[";
    for (const Slot& slot : batch.slots) {
      if (out.size() > 1) out += ' ';
      out += static_cast<char>(slot.request);
      if (counts_.at(slot.request) > 1) out += std::to_string(slot.index);
    }
    out += ']';
    if (!expired.empty()) out += " expired" + names(expired);
    if (!batch.empty()) running_.push_back(std::move(batch));
    return out;
  }

  std::string finish() {
    std::vector<uint64_t> completed;
    if (running_.empty()) return "no batch runs";
    scheduler().finish(running_.front(), completed);
    running_.pop_front();
    return completed.empty() ? "none" : "done" + names(completed);
  }

  static std::string names(const std::vector<uint64_t>& ids) {
    std::string out;
    for (const uint64_t id : ids) out += {' ', static_cast<char>(id)};
    return out;
  }

  std::unique_ptr<Scheduler> scheduler_;
  std::map<uint64_t, size_t> counts_;
  std::deque<Batch> running_;
  int64_t now_us_ = 0;
};

std::string strip(std::string text) {
  text.erase(text.find_last_not_of(" \t\r") + 1);
  return text;
}

class SchedulerTrace : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(SchedulerTrace, comes_out_as_written) {
  std::ifstream file(GetParam());
  ASSERT_TRUE(file);
  Replay replay;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    line = strip(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    SCOPED_TRACE(concat(GetParam().filename().string(), ":", number, ": ", line));
    const size_t arrow = line.find("->");
    const std::string event = strip(line.substr(0, arrow));
    const std::string expected = arrow == std::string::npos ? "" : line.substr(arrow + 3);
    const std::string outcome = replay.run(event);
    const size_t state = event.find(" state ");
    if (state != std::string::npos) {
      ASSERT_EQ(replay.state(), event.substr(state + 7));
    } else {
      ASSERT_EQ(outcome, expected);
    }
  }
}

std::vector<std::filesystem::path> traces() {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(HEADRACE_GOLDEN "/scheduler"))
    if (entry.path().extension() == ".trace") found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

INSTANTIATE_TEST_SUITE_P(Golden, SchedulerTrace, testing::ValuesIn(traces()),
                         [](const auto& story) { return story.param.stem().string(); });

TEST(Scheduler, refuses_limits_out_of_range) {
  for (const auto& change : std::vector<void (*)(SchedulerLimits&)>{
           [](SchedulerLimits& l) { l.max_batch_tokens = 0; },
           [](SchedulerLimits& l) { l.max_batch_tokens = int64_t{1} << 31; },
           [](SchedulerLimits& l) { l.max_batch_sequences = 0; },
           [](SchedulerLimits& l) { l.max_queue_tokens = 0; },
           [](SchedulerLimits& l) { l.aging_us = -1; },
       }) {
    SchedulerLimits limits;
    change(limits);
    EXPECT_THROW(Scheduler{limits}, Error);
  }
}

TEST(Scheduler, says_when_to_come_back_even_when_the_speed_is_unknown_or_absurd) {
  SchedulerLimits limits;
  limits.max_queue_tokens = 10;
  Scheduler scheduler(limits);
  const std::vector<int32_t> lengths = {10};
  ASSERT_FALSE(scheduler.submit({.id = 1, .lengths = lengths}));
  const auto retry_ms = [&](double rate) -> int64_t {
    scheduler.set_tokens_per_second(rate);
    const auto full = scheduler.submit({.id = 2, .lengths = lengths});
    return full ? full->retry_after_ms() : -1;
  };
  EXPECT_EQ(retry_ms(0), 1000);
  EXPECT_EQ(retry_ms(-5), 1000);
  EXPECT_EQ(retry_ms(1e-9), 60'000);
  EXPECT_EQ(retry_ms(1e12), 1);
  EXPECT_EQ(retry_ms(1000), 10);
}

TEST(Scheduler, refuses_before_counting_only_what_no_count_could_save) {
  SchedulerLimits limits;
  limits.max_queue_tokens = 12;
  Scheduler scheduler(limits);
  EXPECT_FALSE(scheduler.refusal_of_any(1000, 1000)) << "an empty queue refuses nobody";
  const std::vector<int32_t> ten = {10}, two = {2};
  ASSERT_FALSE(scheduler.submit({.id = 1, .lengths = ten}));
  EXPECT_FALSE(scheduler.refusal_of_any(2, 1000)) << "a guess refuses nobody";
  EXPECT_TRUE(scheduler.refusal_of_any(3, 1));
  ASSERT_FALSE(scheduler.submit({.id = 2, .lengths = two}));
  scheduler.set_tokens_per_second(1000);
  const auto small = scheduler.refusal_of_any(1, 1), large = scheduler.refusal_of_any(1, 1000);
  ASSERT_TRUE(small);
  ASSERT_TRUE(large);
  EXPECT_EQ(small->kind(), ErrorKind::kOverloaded);
  EXPECT_EQ(small->retry_after_ms(), 1);
  EXPECT_EQ(large->retry_after_ms(), 1000);
}

TEST(Scheduler, finish_of_what_never_ran_is_an_internal_error) {
  Scheduler scheduler(SchedulerLimits{});
  Batch batch;
  batch.slots.push_back({7, 0, 3});
  std::vector<uint64_t> completed;
  EXPECT_THROW(scheduler.finish(batch, completed), Error);
}

}  // namespace
}  // namespace headrace
