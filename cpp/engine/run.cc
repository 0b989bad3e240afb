// One batch: taken from the scheduler, laid end to end, run, its requests finished.
#include <algorithm>
#include <cmath>

#include "engine/served.h"
#include "engine/speed.h"

namespace headrace {
namespace {

// Damaged weights, or numbers too large for the precision, end here and not as scores.
bool all_finite(const float* x, int64_t count) {
  // The sum of x * 0 is 0 unless one of them is infinite or no number; no branch in the loop.
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += x[i] * 0.0f;
  return sum == 0.0f;
}

}  // namespace

// mutex_ is held. False when nothing is left to run, all that was queued having expired.
bool Engine::start_batch(Served& served, RunningBatch& running) {
  running.start_us = now_us();
  served.scheduler.next_batch(running.start_us, running.batch, running.expired);
  for (const uint64_t id : running.expired) {
    const auto found = served.tickets.find(id);
    ++served.metrics.expired;
    finish(found->second, Error(ErrorKind::kDeadline,
                                "the request's timeout passed before it could run; allow more "
                                "time or send less at once"));
    served.tickets.erase(found);
  }
  if (!running.expired.empty()) wake_waiters();
  gather(served, running);
  for (size_t i = 0; i < running.tickets.size(); ++i)
    if (running.batch.slots[i].index == 0) {
      running.tickets[i]->start_us_ = running.start_us;
      served.metrics.queue_seconds.add(us_to_seconds(running.start_us - running.tickets[i]->arrival_us_));
    }
  return !running.batch.empty();
}

// mutex_ is held. The batch's sequences end to end, and where the answer to each goes.
void Engine::gather(const Served& served, RunningBatch& running) {
  running.ids.clear();
  running.types.clear();
  running.picked.clear();
  running.prompts.clear();
  running.pictures.clear();
  running.cu_lengths.assign(1, 0);
  running.outputs.clear();
  running.tickets.clear();
  running.error.reset();
  running.unwanted = false;
  for (const Slot& slot : running.batch.slots) {
    const std::shared_ptr<Ticket>& ticket = served.tickets.find(slot.request)->second;
    const auto index = static_cast<size_t>(slot.index);
    const int64_t start = ticket->starts_[index], here = static_cast<int64_t>(running.ids.size());
    const auto first = ticket->ids_.begin() + start;
    running.ids.insert(running.ids.end(), first, first + slot.length);
    running.cu_lengths.push_back(static_cast<int32_t>(running.ids.size()));
    if (const auto types = static_cast<int64_t>(ticket->types_.size()); types > start) {
      running.types.resize(static_cast<size_t>(here));  // of those before, which had none
      const auto type = ticket->types_.begin() + start;
      running.types.insert(running.types.end(), type, type + std::min<int64_t>(slot.length, types - start));
    }
    const int64_t row = ticket->row_starts_[index];
    if (!ticket->picked_.empty())
      for (int64_t i = row; i < ticket->row_starts_[index + 1]; ++i)
        running.picked.push_back(
            static_cast<int32_t>(ticket->picked_[static_cast<size_t>(i)] - start + here));
    running.outputs.push_back(ticket->vectors_.get() + row * ticket->dimensions_);
    if (!served.model->info().pools_prompt) running.prompts.push_back(ticket->prompt_tokens_);
    if (ticket->patches_) {
      running.pictures.resize(running.tickets.size());  // of those before, which are texts
      running.pictures.push_back(ticket->patches_.get() + slot.index * ticket->picture_floats_);
    }
    running.tickets.push_back(ticket);
  }
  if (!running.pictures.empty()) running.pictures.resize(running.tickets.size());
  if (!running.types.empty()) running.types.resize(running.ids.size());
}

void Engine::run_batch(Served& served, RunningBatch& running) {
  running.damaged.clear();
  try {
    served.model->forward({running.ids, running.cu_lengths, running.types, running.picked, running.prompts,
                           running.pictures, &running.unwanted},
                          running.outputs, pool_);
    for (size_t i = 0; i < running.outputs.size(); ++i) {
      const Ticket& ticket = *running.tickets[i];
      const auto index = static_cast<size_t>(running.batch.slots[i].index);
      const int64_t rows = ticket.row_starts_[index + 1] - ticket.row_starts_[index];
      if (!all_finite(running.outputs[i], rows * ticket.dimensions_)) running.damaged.push_back(i);
    }
  } catch (const Error& error) {
    running.error = error;
  } catch (const std::exception& error) {
    running.error = Error(ErrorKind::kInternal, concat("the forward pass failed: ", error.what()));
  }
}

// mutex_ is held. Ends the request, and nobody else's, whose answer holds no numbers.
void Engine::fail_damaged(Served& served, const Slot& slot) {
  const auto found = served.tickets.find(slot.request);
  if (found == served.tickets.end()) return;
  served.scheduler.cancel(slot.request);
  ++served.metrics.failed;
  finish(found->second,
         Error(ErrorKind::kInternal,
               concat("the answer of the model '", served.name, "' to input[", slot.index,
                      "] holds infinity or NaN: its weights are damaged, or too large for ",
                      served.model->info().precision, "; check model.safetensors for such numbers"),
               "not_finite"));
  served.tickets.erase(found);
}

// mutex_ is held.
void Engine::finish_batch(Served& served, RunningBatch& running) {
  const int64_t now = now_us();
  const double elapsed = us_to_seconds(std::max<int64_t>(1, now - running.start_us));
  ModelMetrics& metrics = served.metrics;
  ++metrics.batches;
  metrics.forward_seconds.add(elapsed);
  metrics.batch_tokens.add(static_cast<double>(running.batch.tokens));
  metrics.batch_sequences.add(static_cast<double>(running.batch.slots.size()));

  if (running.error) {
    // A batch that failed takes its own requests along, and nobody else.
    for (const Slot& slot : running.batch.slots) {
      const auto found = served.tickets.find(slot.request);
      if (found == served.tickets.end()) continue;
      served.scheduler.cancel(slot.request);
      ++metrics.failed;
      finish(found->second, running.error);
      served.tickets.erase(found);
    }
  } else if (!running.unwanted) {  // what was broken off tells no speed
    metrics.sequences += static_cast<int64_t>(running.batch.slots.size());
    metrics.tokens += running.batch.tokens;
    served.max_queue_tokens =
        observe_speed(running.batch.tokens, elapsed, options_.queue_budget_us, metrics, served.scheduler);
  }
  for (const size_t i : running.damaged) fail_damaged(served, running.batch.slots[i]);
  served.scheduler.finish(running.batch, running.completed);
  for (const uint64_t id : running.completed) {
    const auto found = served.tickets.find(id);
    if (found == served.tickets.end()) continue;
    metrics.compute_seconds.add(us_to_seconds(now - found->second->start_us_));
    finish(found->second, std::nullopt);
    served.tickets.erase(found);
  }
  running.tickets.clear();
  wake_waiters();
}

}  // namespace headrace
