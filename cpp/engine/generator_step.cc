// A step of the generator: what the model computes, and what is drawn from it.
#include <algorithm>

#include "engine/generator.h"
#include "engine/served.h"

namespace headrace {

// A proposed token that the text's form does not allow would be computed for nothing.
void Generator::keep_form(const Stream& stream, GenerationSpan& span) {
  TokenMask* const mask = stream.options_.mask.get();
  if (!mask || span.proposed.empty()) return;
  try {
    const int64_t allowed = mask->count_allowed(span.proposed);
    span.proposed = span.proposed.first(static_cast<size_t>(allowed));
  } catch (const Error&) {
    span.proposed = {};  // what is wrong, the form says again when it is asked for its mask
  }
}

void Generator::compute() {
  ids_.clear();
  steps_.clear();
  int64_t wanted = 0;
  bool reads = false;
  for (GenerationSpan& span : spans_) {
    keep_form(*stepping_[steps_.size()], span);
    ids_.insert(ids_.end(), span.tokens.begin(), span.tokens.end());
    ids_.insert(ids_.end(), span.proposed.begin(), span.proposed.end());
    const auto proposed = static_cast<int64_t>(span.proposed.size());
    steps_.push_back({.tokens = static_cast<int64_t>(span.tokens.size()) + proposed,
                      .position = span.position,
                      .blocks = span.blocks.data(),
                      .wanted = span.samples ? 1 + proposed : 0,
                      .adapter = stepping_[steps_.size()]->adapter_.get()});
    wanted += steps_.back().wanted;
    reads |= span.tokens.size() > 1;
  }
  logits_.resize(
      static_cast<size_t>(std::max(wanted * info().vocabulary, static_cast<int64_t>(logits_.size()))));
  const int64_t start = now_us();
  model_->step({ids_, steps_}, logits_.data(), pool_);
  const auto rows = static_cast<int64_t>(ids_.size());
  const double seconds = static_cast<double>(std::max<int64_t>(1, now_us() - start)) * 1e-6;
  // Steps that read prompts tell nothing of what a row of an answer costs, but how soon what waits is read.
  if (reads) {
    const double speed = static_cast<double>(rows) / seconds;
    reading_speed_ = reading_speed_ == 0 ? speed : reading_speed_ + 0.25 * (speed - reading_speed_);
  } else {
    row_cost_.observe(rows, seconds);
  }
}

// Draws the next tokens of every text that is to go on, all at once. A text of a form goes token by token,
// since its mask comes from elsewhere, one text after another.
void Generator::sample() {
  sampled_.resize(std::max(sampled_.size(), spans_.size()));
  masked_.resize(std::max(masked_.size(), spans_.size()));
  std::vector<Drawing> drawing;
  size_t rows = 0;
  for (size_t i = 0; i < spans_.size(); ++i) {
    sampled_[i].clear();
    masked_[i].error.reset();
    masked_[i].is_complete = false;
    if (!spans_[i].samples) continue;
    drawing.push_back({.span = i, .first_row = rows});
    rows += 1 + spans_[i].proposed.size();
  }
  while (!drawing.empty()) {
    for (const Drawing& one : drawing) fill_mask(one.span);
    pool_.parallel_for(static_cast<int64_t>(drawing.size()), [&](int64_t task, int thread) {
      draw(drawing[static_cast<size_t>(task)], samplers_[static_cast<size_t>(thread)]);
    });
    std::erase_if(drawing, [&](const Drawing& one) { return !goes_on(one); });
  }
}

// A row behind a proposed token is this text's only if the very same token was drawn: what is drawn at a
// place depends on the seed, the place and the tokens before, so the text is what it is without proposals.
void Generator::draw(const Drawing& one, Sampler& sampler) {
  Stream& stream = *stepping_[one.span];
  std::vector<Sampled>& sampled = sampled_[one.span];
  const Masked& masked = masked_[one.span];
  if (masked.error) return;
  const std::span<const int32_t> proposed = spans_[one.span].proposed;
  const auto vocabulary = static_cast<size_t>(info().vocabulary);
  for (size_t row = sampled.size(); row <= proposed.size(); ++row) {
    const int64_t generated = stream.generated_tokens() + static_cast<int64_t>(row);
    const bool must_go_on = generated < stream.options_.min_tokens;
    sampled.push_back(sampler.sample(
        std::span(logits_).subspan((one.first_row + row) * vocabulary, vocabulary), stream.options_.sampling,
        &stream.counts_, generated, must_go_on ? end_ids() : std::span<const int32_t>(),
        stream.options_.mask ? masked.allowed : std::span<const uint32_t>()));
    const int32_t token = sampled.back().token;
    if (token < 0) return;
    stream.counts_.add(token);
    if (stream.options_.mask || row == proposed.size() || token != proposed[row]) return;
  }
}

void Generator::fill_mask(size_t span) {
  TokenMask* const mask = stepping_[span]->options_.mask.get();
  if (!mask) return;
  Masked& masked = masked_[span];
  masked.allowed.assign(static_cast<size_t>(info().vocabulary + 31) / 32, 0);
  try {
    mask->fill(masked.allowed);
  } catch (const Error& error) {
    masked.error = error;
  }
}

// The drawn token to the text's form; true if the next row is this text's as well.
bool Generator::goes_on(const Drawing& one) {
  TokenMask* const mask = stepping_[one.span]->options_.mask.get();
  std::vector<Sampled>& sampled = sampled_[one.span];
  Masked& masked = masked_[one.span];
  if (!mask || masked.error || sampled.back().token < 0) return false;
  const int32_t token = sampled.back().token;
  try {
    masked.is_complete = mask->take(token);
  } catch (const Error& error) {
    masked.error = error;
    sampled.pop_back();
    return false;
  }
  const std::span<const int32_t> proposed = spans_[one.span].proposed;
  return !masked.is_complete && sampled.size() <= proposed.size() && token == proposed[sampled.size() - 1];
}

}  // namespace headrace
