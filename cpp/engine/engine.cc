#include "engine/engine.h"

#include <unistd.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>

#include "base/cpu.h"
#include "engine/served.h"
#include "kernels/dispatch.h"
#include "models/load.h"
#include "models/sentence_config.h"

namespace headrace {
namespace {

bool is_model_name(std::string_view name) {
  const auto alphanumeric = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  if (name.empty() || name.size() > 128 || !alphanumeric(name[0])) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

// Whether letters in upper and in lower case are the same tokens.
bool lowers(const Tokenizer& tokenizer) {
  std::vector<int32_t> upper, lower;
  tokenizer.encode_ids("THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG \xC3\x89", {}, upper);
  tokenizer.encode_ids("the quick brown fox jumps over the lazy dog \xC3\xA9", {}, lower);
  return upper == lower;
}

// The id of a special token. Where tokenizer_config.json does not say which, one of the two that are usual.
int32_t special_id(const Tokenizer& tokenizer, const char* key, const std::string& token,
                   std::initializer_list<const char*> usual) {
  if (token.empty()) {
    for (const char* each : usual)
      if (const auto id = tokenizer.token_id(each)) return *id;
  } else if (const auto id = tokenizer.token_id(token)) {
    return *id;
  }
  throw Error(ErrorKind::kCorruptFile,
              token.empty() ? concat("the tokenizer has neither ", *usual.begin(), " nor ",
                                     *std::prev(usual.end()), "; name its ", key, " in tokenizer_config.json")
                            : concat("tokenizer_config.json has the ", key, " '", token,
                                     "', which the tokenizer does not know"));
}

// tokenizer.json, or of SigLIP what transformers writes in its place.
ModelPath tokenizer_file(const ModelPath& directory, const ModelInfo& info) {
  const ModelPath json = directory / "tokenizer.json", pieces = directory / "spiece.model";
  return info.pads && !json.exists() && pieces.exists() ? pieces : json;
}

}  // namespace

Engine::Engine(const EngineOptions& options)
    : options_(options),
      owner_pid_(getpid()),
      pool_(options.threads > 0 ? options.threads : available_cpus()) {
  thread_ = std::thread([this] { loop(); });
}

Engine::~Engine() { close(false); }

bool Engine::made_here() const { return owner_pid_ == getpid(); }

void Engine::add(const std::string& name, ModelPath directory, const LoadOptions& options) {
  {
    const std::lock_guard lock(mutex_);
    check_name(name);  // before the work of loading
  }
  auto model = load_model(directory, kernels(), options);
  if (!model->info().reads) {
    directory = {};
    return add(name, nullptr, std::move(model));
  }
  ModelPath files = transformer_directory(directory);
  auto tokenizer = Tokenizer::from_file(tokenizer_file(files, model->info()));
  if (model->info().task == "embed" && read_text_settings(files).lower_case && !lowers(*tokenizer))
    throw Error(
        ErrorKind::kUnsupported,
        concat(files.name(),
               ": its sentence_bert_config.json asks for lower case (do_lower_case), which the ",
               "normalizer of tokenizer.json does not make; put {\"type\": \"Lowercase\"} first in it"));
  if (tokenizer->vocab_size() > model->info().vocabulary)
    throw Error(ErrorKind::kCorruptFile,
                concat(directory.name(), ": tokenizer.json has ids up to ", tokenizer->vocab_size() - 1,
                       ", config.json a vocab_size of ", model->info().vocabulary));
  directory = files = {};
  add(name, std::move(tokenizer), std::move(model));
}

void Engine::add(const std::string& name, std::unique_ptr<Tokenizer> tokenizer,
                 std::unique_ptr<Model> model) {
  SchedulerLimits limits;
  limits.max_batch_tokens =
      std::max({options_.max_batch_tokens, model->info().max_tokens, model->info().picture_tokens});
  model->reserve(limits.max_batch_tokens, pool_.threads());
  auto served = std::make_shared<Served>(name, limits);
  served->model = std::move(model);
  served->tokenizer = std::move(tokenizer);
  if (served->model->info().rows == AnswerRows::kPicked)
    served->mask_id =
        special_id(*served->tokenizer, "mask_token", served->model->info().mask_token, {"[MASK]", "<mask>"});
  if (served->model->info().pads)
    served->pad_id =
        special_id(*served->tokenizer, "pad_token", served->model->info().pad_token, {"<pad>", "</s>"});
  const std::lock_guard lock(mutex_);
  check_name(name);
  served_.emplace(name, std::move(served));
}

// mutex_ is held.
void Engine::check_name(const std::string& name) const {
  if (!is_model_name(name))
    throw Error(ErrorKind::kInvalidArgument,
                concat("the model name '", name,
                       "': use 1 to 128 letters, digits, '.', '_' or '-', the first a letter or digit"));
  if (served_.contains(name))
    throw Error(ErrorKind::kInvalidArgument, concat("the model name '", name, "' is taken; remove it first"));
}

void Engine::remove(const std::string& name) {
  const std::shared_ptr<Served> served = find(name);
  const std::lock_guard lock(mutex_);
  served->removed = true;
  served_.erase(name);
  fail_all(*served, Error(ErrorKind::kCancelled, concat("the model '", name, "' was removed")));
  wake_waiters();
}

std::shared_ptr<Engine::Served> Engine::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  if (const auto found = served_.find(name); found != served_.end()) return found->second;
  std::string known;
  for (const auto& [other, served] : served_) known += (known.empty() ? "" : ", ") + other;
  throw Error(ErrorKind::kNotFound,
              concat("no model is named '", name, "'; there ", known.empty() ? "are none" : "is: " + known),
              "model_not_found");
}

std::vector<std::string> Engine::names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, served] : served_) names.push_back(name);
  return names;
}

ModelInfo Engine::info(const std::string& name) const { return find(name)->model->info(); }

std::shared_ptr<Tokenizer> Engine::tokenizer(const std::string& name) const {
  const std::shared_ptr<Served> served = find(name);
  if (!served->tokenizer)
    throw Error(ErrorKind::kUnsupported, concat("the model '", name, "' has no tokenizer: it sees pictures"));
  return served->tokenizer;
}

ModelMetrics Engine::metrics(const std::string& name) const {
  const std::shared_ptr<Served> served = find(name);
  const std::lock_guard lock(mutex_);
  ModelMetrics metrics = served->metrics;
  metrics.queued_tokens = served->scheduler.queued_tokens();
  metrics.running_tokens = served->scheduler.running_tokens();
  return metrics;
}

void Engine::cancel(const std::string& name, uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto served = served_.find(name);
  if (served == served_.end()) return;
  const auto found = served->second->tickets.find(id);
  if (found == served->second->tickets.end()) return;
  served->second->scheduler.cancel(id);
  ++served->second->metrics.cancelled;
  finish(found->second, Error(ErrorKind::kCancelled, "the request was cancelled"));
  served->second->tickets.erase(found);
  if (running_) running_->look_who_waits();
  wake_waiters();
}

bool Engine::wait(const Ticket& ticket, int64_t timeout_us) {
  std::unique_lock lock(mutex_);
  return finished_.wait_for(lock, std::chrono::microseconds(timeout_us),
                            [&] { return ticket.state() != Ticket::State::kPending; });
}

void Engine::close(bool drain) {
  if (!made_here()) return;
  {
    std::unique_lock lock(mutex_);
    closing_ = true;
    if (drain)
      finished_.wait(lock, [&] {
        return stop_ || std::all_of(served_.begin(), served_.end(),
                                    [](const auto& entry) { return entry.second->tickets.empty(); });
      });
    stop_ = true;
    for (const auto& [name, served] : served_)
      fail_all(*served, Error(ErrorKind::kCancelled, "the engine was closed before this request ran"));
    wake_waiters();
  }
  work_.notify_all();
  if (thread_.joinable()) thread_.join();
}

// mutex_ is held.
void Engine::finish(const std::shared_ptr<Ticket>& ticket, std::optional<Error> error) {
  const bool failed = error.has_value();
  ticket->error_ = std::move(error);
  ticket->state_.store(failed ? Ticket::State::kFailed : Ticket::State::kDone, std::memory_order_release);
  if (!ticket->completions_) return;
  ticket->completions_->push(ticket->id_);
  if (std::find(to_wake_.begin(), to_wake_.end(), ticket->completions_) == to_wake_.end())
    to_wake_.push_back(ticket->completions_);
}

// mutex_ is held. Wakes every event loop that has news, once, and everyone in wait().
void Engine::wake_waiters() {
  for (const auto& completions : to_wake_) completions->wake();
  to_wake_.clear();
  finished_.notify_all();
}

// mutex_ is held.
void Engine::fail_all(Served& served, const Error& error) {
  for (const auto& [id, ticket] : served.tickets) {
    served.scheduler.cancel(id);
    ++served.metrics.cancelled;
    finish(ticket, error);
  }
  served.tickets.clear();
  if (running_) running_->look_who_waits();
}

void Engine::loop() {
  RunningBatch running;
  std::unique_lock lock(mutex_);
  for (;;) {
    std::shared_ptr<Served> served;
    work_.wait(lock, [&] { return stop_ || (served = next_served()); });
    if (stop_) return;
    last_served_ = served->name;
    if (!start_batch(*served, running)) continue;
    running_ = &running;
    lock.unlock();
    run_batch(*served, running);
    lock.lock();
    running_ = nullptr;
    finish_batch(*served, running);
    if (served->removed) served.reset();  // the last reference: memory goes back now, not at the next request
  }
}

// mutex_ is held. The next model after the last one that has work: each gets its turn.
std::shared_ptr<Engine::Served> Engine::next_served() {
  const auto has_work = [](const auto& entry) { return entry.second->scheduler.queued_requests() > 0; };
  auto found = std::find_if(served_.upper_bound(last_served_), served_.end(), has_work);
  if (found == served_.end()) found = std::find_if(served_.begin(), served_.end(), has_work);
  return found == served_.end() ? nullptr : found->second;
}

}  // namespace headrace
