// The way in: checks, tokenising on the caller's thread, admission.
#include <algorithm>

#include "engine/input_errors.h"
#include "engine/prompted.h"
#include "engine/served.h"

namespace headrace {

// A quarter of a gigabyte: far above what a request needs, and nobody can ask for more.
constexpr int64_t kMaxAnswerNumbers = 1 << 26;

std::shared_ptr<Ticket> Engine::start_ticket(const Served& served, const SubmitOptions& options) const {
  if (!made_here())
    throw Error(ErrorKind::kUnsupported,
                "this engine was made before fork(); make a new one in the child process");
  auto ticket = std::make_shared<Ticket>();
  ticket->dimensions_ = served.model->info().dimensions;
  ticket->completions_ = options.completions;
  return ticket;
}

void Engine::check_reads(const Served& served) const {
  if (!served.tokenizer)
    throw Error(ErrorKind::kInvalidArgument,
                concat("the model '", served.name, "' reads no texts: it sees pictures, give images"),
                "wrong_input");
}

// mutex_ is held. What runs now is also waited for; without it the budget would be overdrawn by up to a
// batch.
void Engine::limit_queue(Served& served) const {
  served.scheduler.set_max_queue_tokens(
      std::max<int64_t>(1, served.max_queue_tokens - served.scheduler.running_tokens()));
}

int64_t Engine::likely_tokens(const Served& served, size_t bytes) const {
  constexpr int64_t kLikelyBytesPerToken = 4;
  if (served.pad_id) return served.model->info().max_tokens;
  return std::min(served.model->info().max_tokens, served.tokenizer->special_tokens_count() +
                                                       static_cast<int64_t>(bytes) / kLikelyBytesPerToken);
}

// Refuses what a full queue cannot take whatever its exact size, so that overload costs no tokenising.
bool Engine::refuse_uncounted(Served& served, Ticket& ticket, size_t sequences, int64_t likely_tokens) {
  const int64_t special = served.tokenizer ? served.tokenizer->special_tokens_count() : 0;
  const std::lock_guard lock(mutex_);
  limit_queue(served);
  const int64_t least = static_cast<int64_t>(sequences) * std::max<int64_t>(1, special);
  std::optional<Error> full = served.scheduler.refusal_of_any(least, likely_tokens);
  if (!full) return false;
  ++served.metrics.refused;
  ticket.refuse(*std::move(full));
  return true;
}

namespace {

void check_total(size_t tokens, int64_t limit) {
  if (static_cast<int64_t>(tokens) > limit)
    throw Error(ErrorKind::kInvalidArgument,
                concat("the request has over ", limit, " tokens; send it in several requests"),
                "request_too_large");
}

// Appends the ids of one text, at most max_tokens of them; true when it was cut, which only truncate allows.
// Special tokens spelled out in a text stay text: no author of content can forge one.
bool encode_text(const Tokenizer& tokenizer, size_t index, std::string_view text, int64_t max_tokens,
                 bool truncate, Prompted& prompted, std::vector<int32_t>& ids) {
  if (text.empty()) refuse_empty("input", index);
  int64_t tokens = 0;
  const std::string_view whole = prompted.with(text);
  in_input("input", index, [&] { tokens = tokenizer.encode_ids(whole, prompted.options(max_tokens), ids); });
  if (tokens > max_tokens && !truncate) refuse_length("input", index, tokens, max_tokens);
  return tokens > max_tokens;
}

}  // namespace

// How many tokens at the start of a sequence are the prompt's, counted as sentence-transformers does: those
// of the prompt alone, with the special tokens before it and without the one behind it. 0 where the model
// does not ask.
int32_t Engine::count_prompt(const Served& served, std::string_view prompt, bool special) const {
  const ModelInfo& info = served.model->info();
  if (prompt.empty() || info.pools_prompt) return 0;
  Encoding alone;
  in_input("prompt", 0, [&] {
    alone = served.tokenizer->encode(prompt, {.add_special_tokens = true, .allow_special = special});
  });
  auto tokens = static_cast<int64_t>(alone.ids.size());
  if (!alone.sequence_ids.empty() && alone.sequence_ids.back() < 0) --tokens;
  if (tokens + 1 >= info.max_tokens)
    throw Error(ErrorKind::kInvalidArgument,
                concat("the prompt has ", tokens, " tokens; a sequence has at most ", info.max_tokens,
                       ". Shorten it"),
                "context_length_exceeded");
  return static_cast<int32_t>(tokens);
}

void Engine::check(const std::string& name, std::span<const std::string_view> texts,
                   std::string_view prompt) const {
  const std::shared_ptr<Served> served = find(name);
  check_reads(*served);
  Prompted prompted(*served->tokenizer, prompt);
  count_prompt(*served, prompt, prompted.special());
  std::vector<int32_t> ids;
  for (size_t i = 0; i < texts.size(); ++i) {
    ids.clear();
    encode_text(*served->tokenizer, i, texts[i], served->model->info().max_tokens, false, prompted, ids);
  }
}

std::shared_ptr<Ticket> Engine::submit(const std::string& name, std::span<const std::string_view> texts,
                                       const SubmitOptions& options) {
  const std::shared_ptr<Served> served = find(name);
  check_reads(*served);
  std::shared_ptr<Ticket> ticket = start_ticket(*served, options);
  if (options.admission == Admission::kRefuse && !texts.empty()) {
    int64_t likely = 0;
    for (const std::string_view text : texts)
      likely += likely_tokens(*served, options.prompt.size() + text.size());
    if (refuse_uncounted(*served, *ticket, texts.size(), likely)) return ticket;
  }
  const int64_t limit = served->model->info().max_tokens;
  Prompted prompted(*served->tokenizer, options.prompt);
  ticket->prompt_tokens_ = count_prompt(*served, options.prompt, prompted.special());
  for (size_t i = 0; i < texts.size(); ++i) {
    if (served->mask_id
            ? encode_masked(*served, i, texts[i], options, ticket->ids_)
            : encode_text(*served->tokenizer, i, texts[i], limit, options.truncate, prompted, ticket->ids_))
      ++ticket->truncated_;
    fill_up(*served, *ticket);
    end_sequence(*served, *ticket);
  }
  return enqueue(*served, std::move(ticket), options);
}

std::shared_ptr<Ticket> Engine::submit(const std::string& name,
                                       std::span<const std::vector<int32_t>> sequences,
                                       const SubmitOptions& options) {
  const std::shared_ptr<Served> served = find(name);
  check_reads(*served);
  std::shared_ptr<Ticket> ticket = start_ticket(*served, options);
  const ModelInfo& info = served->model->info();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const std::vector<int32_t>& ids = sequences[i];
    auto length = static_cast<int64_t>(ids.size());
    if (length == 0)
      throw Error(ErrorKind::kInvalidArgument,
                  concat("input[", i, "] has no token ids; every input needs one"));
    for (const int32_t id : ids)
      if (id < 0 || id >= info.vocabulary)
        throw Error(ErrorKind::kInvalidArgument,
                    concat("input[", i, "]: the token id ", id, " is outside the vocabulary, [0, ",
                           info.vocabulary - 1, "]"));
    if (length > info.max_tokens) {
      if (!options.truncate) refuse_length("input", i, length, info.max_tokens);
      length = info.max_tokens;
      ++ticket->truncated_;
    }
    ticket->ids_.insert(ticket->ids_.end(), ids.begin(), ids.begin() + length);
    fill_up(*served, *ticket);
    end_sequence(*served, *ticket);
  }
  return enqueue(*served, std::move(ticket), options);
}

// Where the next sequence of a ticket starts in its ids.
int64_t Engine::next_start(const Ticket& ticket) {
  return ticket.lengths_.empty() ? 0 : ticket.starts_.back() + ticket.lengths_.back();
}

// Makes what has been added to the ticket's ids as long as the model wants all texts.
void Engine::fill_up(const Served& served, Ticket& ticket) const {
  if (served.pad_id)
    ticket.ids_.resize(static_cast<size_t>(next_start(ticket) + served.model->info().max_tokens),
                       *served.pad_id);
}

// What has been added to the ticket's ids is its next sequence.
void Engine::end_sequence(const Served& served, Ticket& ticket) const {
  check_total(ticket.ids_.size(), options_.max_request_tokens);
  const int64_t start = next_start(ticket);
  const auto end = static_cast<int64_t>(ticket.ids_.size());
  ticket.starts_.push_back(start);
  ticket.lengths_.push_back(static_cast<int32_t>(end - start));
  int64_t rows = 1;
  switch (served.model->info().rows) {
    case AnswerRows::kSequence:
      break;
    case AnswerRows::kToken:
      rows = end - start;
      break;
    case AnswerRows::kPicked:
      rows = 0;
      for (int64_t i = start; i < end; ++i)
        if (ticket.ids_[static_cast<size_t>(i)] == served.mask_id) {
          ticket.picked_.push_back(i);
          ++rows;
        }
  }
  ticket.row_starts_.push_back(ticket.row_starts_.back() + rows);
  if (ticket.rows() > kMaxAnswerNumbers / ticket.dimensions_)
    throw Error(ErrorKind::kInvalidArgument,
                concat("the answer to this request would have over ", kMaxAnswerNumbers,
                       " numbers; send it in several requests"),
                "request_too_large");
}

std::shared_ptr<Ticket> Engine::enqueue(Served& served, std::shared_ptr<Ticket> ticket,
                                        const SubmitOptions& options) {
  if (ticket->lengths_.empty())
    throw Error(ErrorKind::kInvalidArgument, "the input is an empty list; give at least one text");
  // Row addresses go into a batch while it runs, so the answer's place must exist before the request is
  // queued.
  ticket->vectors_ =
      std::make_unique_for_overwrite<float[]>(static_cast<size_t>(ticket->rows() * ticket->dimensions_));
  {
    const std::lock_guard lock(mutex_);
    if (closing_ || served.removed)
      throw Error(ErrorKind::kCancelled, closing_ ? std::string("the engine is closed; make a new one")
                                                  : concat("the model '", served.name, "' was removed"));
    ticket->id_ = next_ticket_id();
    ticket->arrival_us_ = now_us();
    limit_queue(served);
    std::optional<Error> full = served.scheduler.submit({
        .id = ticket->id_,
        .lengths = ticket->lengths_,
        .priority = options.priority,
        .admission = options.admission,
        .arrival_us = ticket->arrival_us_,
        .deadline_us = options.timeout_us > 0 ? ticket->arrival_us_ + options.timeout_us : 0,
    });
    if (full) {
      ++served.metrics.refused;
      ticket->refuse(*std::move(full));
      return ticket;
    }
    served.tickets.emplace(ticket->id_, ticket);
    ++served.metrics.requests;
  }
  work_.notify_one();
  return ticket;
}

}  // namespace headrace
