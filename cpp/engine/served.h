// What the engine keeps of each model, and of the batch it runs. Private to engine/.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "batch/batch.h"
#include "batch/scheduler.h"
#include "engine/clock.h"
#include "engine/engine.h"

namespace headrace {

struct Engine::Served {
  std::string name;
  std::shared_ptr<Tokenizer> tokenizer;  // immutable: used without the lock; null: the model reads no texts
  std::unique_ptr<Model> model;          // forward: loop thread only
  std::optional<int32_t> mask_id;        // of a model that answers at picked tokens: those
  std::optional<int32_t> pad_id;         // of a model that wants all texts of one length: what fills them up
  Scheduler scheduler;
  ModelMetrics metrics;
  std::unordered_map<uint64_t, std::shared_ptr<Ticket>> tickets;  // queued or running
  int64_t
      max_queue_tokens;  // what the queue budget comes to at the measured speed; until one is known, a guess
  bool removed = false;

  Served(std::string model_name, const SchedulerLimits& limits)
      : name(std::move(model_name)), scheduler(limits), max_queue_tokens(limits.max_queue_tokens) {}
};

// The loop's working memory; kept from batch to batch, so a steady state allocates nothing.
struct Engine::RunningBatch {
  Batch batch;
  std::vector<uint64_t> expired, completed;
  std::vector<std::shared_ptr<Ticket>>
      tickets;  // by slot: outputs stay valid if a ticket is cancelled meanwhile
  std::vector<int32_t> ids, types, cu_lengths, picked, prompts;
  std::vector<const float*> pictures;
  std::vector<float*> outputs;
  std::vector<size_t> damaged;  // slots whose answers hold infinity or NaN
  int64_t start_us = 0;
  std::optional<Error> error;
  std::atomic<bool> unwanted{false};  // all its tickets have ended meanwhile

  // The engine's mutex is held, and the batch is out.
  void look_who_waits() {
    unwanted = std::none_of(tickets.begin(), tickets.end(), [](const std::shared_ptr<Ticket>& ticket) {
      return ticket->state() == Ticket::State::kPending;
    });
  }
};

}  // namespace headrace
