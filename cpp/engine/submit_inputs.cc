// The way in for what needs more than ids: pairs of texts, windows over long ones, texts with places to fill.
#include <algorithm>

#include "engine/input_errors.h"
#include "engine/served.h"

namespace headrace {
namespace {

// The encoding and, in their order, the parts that overflowed from it.
void flatten(Encoding&& encoding, std::vector<Encoding>& out) {
  std::vector<Encoding> parts = std::move(encoding.overflowing);
  encoding.overflowing.clear();
  out.push_back(std::move(encoding));
  for (Encoding& part : parts) flatten(std::move(part), out);
}

// The bytes of text in which no special token may be found: all but those of the mask token, and white space,
// which the mask may take with it.
std::vector<uint32_t> bytes_outside(std::string_view text, std::string_view mask) {
  std::vector<uint32_t> outside;
  for (size_t i = 0; i < text.size();) {
    if (text.substr(i, mask.size()) == mask) {
      i += mask.size();
      continue;
    }
    if (text[i] != ' ' && text[i] != '\n' && text[i] != '\t' && text[i] != '\r')
      outside.push_back(static_cast<uint32_t>(i));
    ++i;
  }
  return outside;
}

// A stride that would leave a window nothing new. room: the tokens that a window has for the text.
void check_stride(std::optional<int64_t> stride, int64_t room) {
  if (stride && (*stride < 0 || *stride >= room))
    throw Error(ErrorKind::kInvalidArgument, concat("stride=", *stride, ": must be at least 0 and below ",
                                                    room, ", the tokens that a window has for the text"));
}

// A first text so long that the second has no room. Bytes tell for nearly all that there is no need to count.
void check_room(const Tokenizer& tokenizer, const TextInput& input, int64_t limit,
                const SubmitOptions& options) {
  const int64_t room = limit - tokenizer.special_tokens_count(true);
  if (static_cast<int64_t>(input.text.size()) < room) return;
  int64_t tokens = 0;
  in_input(options.first_argument, 0, [&] {
    tokens = tokenizer.count(input.text, {.add_special_tokens = false, .allow_special = false});
  });
  const int64_t shared = options.stride.value_or(0);
  if (tokens + shared < room) return;
  throw Error(ErrorKind::kInvalidArgument,
              concat("the ", options.first_argument, " has ", tokens, " tokens; of ", room,
                     " it must leave more than the stride (", shared, ") to the ", options.argument,
                     ", which is read with it. Shorten it"),
              "context_length_exceeded");
}

// Refuses windows that would be too many before any of them exists: with a stride next to their length each
// gets only a token further, and a megabyte of text would become gigabytes. taken: tokens of the texts
// before.
void check_windows(const Tokenizer& tokenizer, size_t index, const TextInput& input, int64_t limit,
                   const SubmitOptions& options, int64_t taken, int64_t max_request_tokens) {
  const int64_t stride = *options.stride;
  const std::string_view own = input.pair.value_or(input.text);
  const auto count = [&](const char* argument, size_t place, std::string_view text) {
    int64_t tokens = 0;
    in_input(argument, place,
             [&] { tokens = tokenizer.count(text, {.add_special_tokens = false, .allow_special = false}); });
    return tokens;
  };
  // What each window repeats, and what it leaves to the text.
  int64_t repeated = tokenizer.special_tokens_count(input.pair.has_value());
  if (input.pair) repeated += count(options.first_argument, 0, input.text);
  const int64_t room = limit - repeated;
  if (room <= stride) return;  // encoding says what is wrong with that
  const auto total_of = [&](int64_t tokens) {
    const int64_t steps = std::max<int64_t>(0, tokens - stride - 1) / (room - stride);
    return tokens + steps * stride + (steps + 1) * repeated;
  };
  // A text has about as many tokens as bytes at most; those far from the limit need not be counted.
  constexpr int64_t kFar = 16;
  if (taken + total_of(static_cast<int64_t>(own.size())) <= max_request_tokens / kFar) return;
  const int64_t total = total_of(count(options.argument, index, own));
  if (taken + total <= max_request_tokens) return;
  throw Error(ErrorKind::kInvalidArgument,
              concat(options.argument, "[", index, "], read in windows of ", limit, " tokens that share ",
                     stride, ", would be ", total, " tokens", taken > 0 ? concat(" after ", taken) : "",
                     "; a request may have ", max_request_tokens,
                     ". Shorten it, or let the windows share less (stride)"),
              "request_too_large");
}

}  // namespace

// Appends the ids of a text that spells the mask token; true when it was cut.
bool Engine::encode_masked(const Served& served, size_t index, std::string_view text,
                           const SubmitOptions& options, std::vector<int32_t>& ids) const {
  if (text.empty()) refuse_empty("input", index);
  const int64_t limit = served.model->info().max_tokens;
  const std::string_view mask = served.tokenizer->token(*served.mask_id);
  const size_t begin = ids.size();
  int64_t tokens = 0;
  in_input("input", index, [&] {
    const std::vector<uint32_t> guarded = bytes_outside(text, mask);
    tokens = served.tokenizer->encode_ids(
        text, {.add_special_tokens = true, .allow_special = true, .max_tokens = limit, .guarded = guarded},
        ids);
  });
  if (tokens > limit && !options.truncate) refuse_length("input", index, tokens, limit);
  if (std::find(ids.begin() + static_cast<int64_t>(begin), ids.end(), *served.mask_id) == ids.end())
    throw Error(ErrorKind::kInvalidArgument, concat("input[", index, "] has no ", mask,
                                                    tokens > limit ? " within the part that is read" : "",
                                                    "; write it where a word is to be filled in"));
  return tokens > limit;
}

// The text, or pair, as one sequence, or with a stride as many as it takes.
void Engine::add_windows(const Served& served, size_t index, const TextInput& input,
                         const SubmitOptions& options, Ticket& ticket) const {
  const ModelInfo& info = served.model->info();
  const int64_t limit =
      options.window_tokens > 0 ? std::min(options.window_tokens, info.max_tokens) : info.max_tokens;
  if (input.text.empty() || (input.pair && input.pair->empty())) refuse_empty(options.argument, index);
  EncodeOptions encode{
      .add_special_tokens = true,
      .allow_special = false,
      .max_tokens = limit,
      .strategy = input.pair ? Truncation::Strategy::kOnlySecond : Truncation::Strategy::kLongestFirst,
      .stride = options.stride};
  check_stride(options.stride, limit - served.tokenizer->special_tokens_count(input.pair.has_value()));
  if (input.pair) check_room(*served.tokenizer, input, limit, options);
  if (options.stride)
    check_windows(*served.tokenizer, index, input, limit, options, static_cast<int64_t>(ticket.ids_.size()),
                  options_.max_request_tokens);
  Encoding whole;
  in_input(options.argument, index, [&] {
    whole = input.pair ? served.tokenizer->encode_pair(input.text, *input.pair, encode)
                       : served.tokenizer->encode(input.text, encode);
  });
  if (whole.num_tokens > limit && !options.stride) {
    if (!options.truncate) refuse_length(options.argument, index, whole.num_tokens, limit);
    ++ticket.truncated_;
  }
  std::vector<Encoding> windows;
  flatten(std::move(whole), windows);
  for (Encoding& window : windows) {
    const size_t start = ticket.ids_.size();
    ticket.ids_.insert(ticket.ids_.end(), window.ids.begin(), window.ids.end());
    for (size_t i = 0; info.types > 1 && i < window.type_ids.size(); ++i) {
      if (window.type_ids[i] == 0) continue;
      ticket.types_.resize(start + i);
      ticket.types_.push_back(window.type_ids[i] < info.types ? window.type_ids[i] : 0);
    }
    end_sequence(served, ticket);
    if (options.stride) ticket.windows_.push_back({static_cast<int32_t>(index), std::move(window)});
  }
}

std::shared_ptr<Ticket> Engine::submit(const std::string& name, std::span<const TextInput> inputs,
                                       const SubmitOptions& options) {
  const std::shared_ptr<Served> served = find(name);
  check_reads(*served);
  std::shared_ptr<Ticket> ticket = start_ticket(*served, options);
  if (options.admission == Admission::kRefuse && !inputs.empty()) {
    int64_t likely = 0;
    for (const TextInput& input : inputs)
      likely += likely_tokens(*served, input.text.size() + input.pair.value_or(std::string_view()).size());
    if (refuse_uncounted(*served, *ticket, inputs.size(), likely)) return ticket;
  }
  for (size_t i = 0; i < inputs.size(); ++i) add_windows(*served, i, inputs[i], options, *ticket);
  return enqueue(*served, std::move(ticket), options);
}

}  // namespace headrace
