// What the scheduler knows of a request: how many tokens each of its sequences has, and when it must run.
// No text, no ids, no thread, no clock: all times are microseconds of one clock that the caller chose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace headrace {

// How soon a request wants to run. A level costs SchedulerLimits::aging_us of waiting, never a place for
// good.
enum class Priority : int32_t { kInteractive = 0, kNormal = 1, kBatch = 2 };
inline constexpr size_t kPriorities = 3;

// kRefuse: refused with kOverloaded when the queue is full. kWait: always queued; for offline callers, who
// bound the work they hand in at a time themselves.
enum class Admission { kRefuse, kWait };

struct Request {
  uint64_t id = 0;  // unique among the requests the scheduler still knows
  std::span<const int32_t>
      lengths;  // tokens of each sequence, each in [1, max_batch_tokens]; copied by submit
  Priority priority = Priority::kInteractive;
  Admission admission = Admission::kRefuse;
  int64_t arrival_us = 0;
  int64_t deadline_us = 0;  // from this moment on it must not start any more; 0: none
};

}  // namespace headrace
