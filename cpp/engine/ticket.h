// One submitted request, from its ids to its answer; and the queue through which an event loop hears of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "text/encoding.h"

namespace headrace {

class Ticket;

// Unique in the process: an event loop hears of the requests of several engines through one queue.
uint64_t next_ticket_id();

// Finished tickets on their way to one event loop. The engine pushes all that a batch finished and then
// writes to the eventfd once, so a loop wakes once per batch and not once per request.
class CompletionQueue {
 public:
  CompletionQueue();
  ~CompletionQueue();
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;

  // Readable while finished tickets wait. Owned by the queue.
  int fd() const { return fd_; }
  // The ids of finished tickets, in order of completion; clears the eventfd.
  std::vector<uint64_t> drain();

  void push(uint64_t ticket);  // any thread; the waker must follow
  void wake();

 private:
  int fd_;
  std::mutex mutex_;
  std::vector<uint64_t> finished_;  // guarded by mutex_
};

// One of the pieces that a text was cut into, to be run as a sequence of its own.
struct Window {
  int32_t input = 0;  // which of the request's texts it is from
  Encoding encoding;  // without what overflowed
};

class Ticket {
 public:
  enum class State : int { kPending, kDone, kFailed };

  uint64_t id() const { return id_; }
  State state() const { return state_.load(std::memory_order_acquire); }
  int64_t sequences() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t tokens() const { return static_cast<int64_t>(ids_.size()); }  // special tokens included
  std::span<const int32_t> lengths() const { return lengths_; }         // tokens of each sequence
  int64_t truncated() const { return truncated_; }                      // sequences that were cut
  int64_t dimensions() const { return dimensions_; }
  // Rows of the answers to all sequences; those of sequence i are row_starts()[i] to row_starts()[i + 1] - 1.
  int64_t rows() const { return row_starts_.back(); }
  std::span<const int64_t> row_starts() const { return row_starts_; }
  // [rows, dimensions], row-major; complete once state() is kDone and never changed after.
  const float* vectors() const { return vectors_.get(); }
  // By sequence, where the request was for windows; else empty.
  std::span<const Window> windows() const { return windows_; }
  // Set once state() is kFailed.
  const Error& error() const { return *error_; }

 private:
  friend class Engine;

  // Before anybody else has seen the ticket.
  void refuse(Error error) {
    error_ = std::move(error);
    state_.store(State::kFailed, std::memory_order_release);
  }

  uint64_t id_ = 0;
  std::vector<int32_t> ids_;      // all sequences, end to end
  std::vector<int32_t> lengths_;  // tokens of each
  std::vector<int64_t> starts_;   // of each in ids_
  std::vector<int32_t> types_;    // by token, up to the last one that is not 0
  // Of a request of pictures: their patches, picture_floats_ numbers each. Its ids are zeros.
  std::unique_ptr<float[]> patches_;
  int64_t picture_floats_ = 0;
  int32_t prompt_tokens_ = 0;  // at the start of each sequence, where the model has to know
  // By row, where the model answers at picked tokens: their places in ids_.
  std::vector<int64_t> picked_;
  std::vector<int64_t> row_starts_{0};
  std::vector<Window> windows_;
  int64_t truncated_ = 0;
  int64_t dimensions_ = 0;
  int64_t arrival_us_ = 0;
  int64_t start_us_ = 0;  // of the first batch it is in
  std::unique_ptr<float[]> vectors_;
  std::optional<Error> error_;
  std::atomic<State> state_{State::kPending};     // the last thing written: it publishes vectors_ and error_
  std::shared_ptr<CompletionQueue> completions_;  // may be null: someone waits in Engine::wait
};

}  // namespace headrace
