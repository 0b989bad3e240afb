#include "engine/drafter.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace headrace {
namespace {

// The chance that a guess is right, until it is seen, and how many guesses that counts for.
constexpr double kFirstChance = 0.7, kFirstWeight = 6;
constexpr double kRemembered = 0.97;  // weight of what was seen one token before
constexpr int64_t kMostGuessed = 8;
// Guesses must be expected to save so much of the time: chances and costs are estimates.
constexpr double kMargin = 1.1;
// Where it was not worth it, it is tried again after so many steps, then twice as many, and so on.
constexpr int64_t kFirstSleep = 16, kLongestSleep = 512;

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Tokens that a step gives with so many guesses.
double expected_tokens(double chance, int64_t count) {
  double tokens = 1, all_right = 1;
  for (int64_t i = 0; i < count; ++i) tokens += all_right *= chance;
  return tokens;
}

}  // namespace

Drafter::Drafter(std::unique_ptr<LanguageModel> model, const DraftLimits& limits, int threads, uint64_t key)
    : model_(std::move(model)), limits_(limits), blocks_(limits.blocks, key) {
  model_->reserve({.step_tokens = limits.step_tokens,
                   .step_wanted = std::min(limits.max_sequences, limits.step_tokens),
                   .context = limits.context,
                   .blocks = limits.blocks,
                   .kv = limits.kv,
                   .threads = threads});
  logits_.resize(
      static_cast<size_t>(std::min(limits.max_sequences, limits.step_tokens) * model_->info().vocabulary));
  samplers_.resize(static_cast<size_t>(threads));
}

double Drafter::State::chance() const {
  return (accepted + kFirstWeight * kFirstChance) / (all + kFirstWeight);
}

void Drafter::forget(uint64_t id) {
  const auto at = states_.find(id);
  if (at == states_.end()) return;
  blocks_.release(at->second.sequence);
  states_.erase(at);
}

void Drafter::observe(uint64_t id, int64_t computed, int64_t accepted) {
  const auto at = states_.find(id);
  if (at == states_.end()) return;
  State& state = at->second;
  // What is behind a wrong token tells nothing.
  for (int64_t i = 0; i < std::min(computed, accepted + 1); ++i) {
    const double right = i < accepted ? 1 : 0;
    state.accepted = kRemembered * state.accepted + right, state.all = kRemembered * state.all + 1;
    accepted_ = kRemembered * accepted_ + right, all_ = kRemembered * all_ + 1;
  }
}

// Which texts are guessed for, and how many tokens of each.
void Drafter::choose(std::span<const DraftText> texts, const RowCost& large) {
  active_.clear();
  const bool always = limits_.count >= 0;
  const auto most = static_cast<size_t>(std::min(limits_.max_sequences, limits_.step_tokens));
  for (const DraftText& text : texts) {
    if (text.room < 1 || active_.size() == most) continue;
    auto [at, is_new] = states_.try_emplace(text.id);
    State& state = at->second;
    if (is_new) {
      state.cache_key = text.cache_key;
      // Others' experience, for as much as a first guess counts.
      if (all_ > 0) state.all = kFirstWeight, state.accepted = kFirstWeight * accepted_ / all_;
    }
    if (!always && (state.sleeps_until > calls_ || text.own_chance > state.chance())) continue;
    active_.push_back(
        {.text = &text, .state = &state, .count = 0, .guess = {.id = text.id, .chance = 0, .tokens = {}}});
  }
  const int64_t count = always ? limits_.count : count_worth(large);
  if (count == 0) {
    for (const Active& active : active_) {
      State& state = *active.state;
      state.sleep = std::clamp(2 * state.sleep, kFirstSleep, kLongestSleep);
      state.sleeps_until = calls_ + state.sleep;
      // What was seen long ago is to count less when it is tried again.
      state.accepted /= 2, state.all /= 2;
    }
    active_.clear();
  }
  for (Active& active : active_) {
    active.count = std::min(count, active.text->room);
    active.guess.chance = active.state->chance();
    active.state->sleep = 0;
  }
}

int64_t Drafter::count_worth(const RowCost& large) const {
  if (active_.empty()) return 0;
  const auto rows = static_cast<int64_t>(active_.size());
  const double first = large.seconds(1);
  if (first <= 0) return 1;  // nothing is measured yet
  const double plain = large.seconds(rows);
  const double draft = is_measured_ ? cost_.seconds(rows) : limits_.cost * plain;
  double best = kMargin * static_cast<double>(rows) / plain;
  int64_t count = 0;
  for (int64_t k = 1; k <= kMostGuessed; ++k) {
    double tokens = 0;
    for (const Active& active : active_) tokens += expected_tokens(active.state->chance(), k);
    const double rate = tokens / (large.seconds(rows * (1 + k)) + static_cast<double>(k) * draft);
    if (rate > best) best = rate, count = k;
  }
  return count;
}

// What of the text is in the blocks, and room for the rest and for guesses; false without it.
bool Drafter::make_room(Active& active) {
  State& state = *active.state;
  const std::span<const int32_t> tokens = active.text->tokens;
  if (state.sequence.blocks.empty()) {
    const int64_t known = blocks_.attach(state.cache_key, tokens, state.sequence);
    state.read.assign(tokens.begin(), tokens.begin() + known);
  }
  // Guesses that were wrong are read over; the last token always, for its logits.
  const auto differs = std::mismatch(state.read.begin(), state.read.end(), tokens.begin(), tokens.end());
  const auto known = std::min<std::ptrdiff_t>(differs.first - state.read.begin(), std::ssize(tokens) - 1);
  state.read.resize(static_cast<size_t>(known));
  const auto own = static_cast<int32_t>(model_->info().vocabulary);
  if (std::any_of(tokens.begin() + known, tokens.end(), [&](int32_t token) { return token >= own; }))
    return false;
  active.first = known;
  blocks_.publish(state.cache_key, state.read, state.sequence);
  const int64_t wanted = std::ssize(tokens) + active.count - 1;
  if (wanted > limits_.context) return false;
  if (blocks_.extend(state.sequence, wanted)) return true;
  // Those that nobody guesses for give theirs.
  for (auto& entry : states_) {
    State& other = entry.second;
    const bool is_active =
        std::any_of(active_.begin(), active_.end(), [&](const Active& one) { return one.state == &other; });
    if (is_active) continue;
    blocks_.release(other.sequence);
    other.sequence = {};
    other.read.clear();
  }
  return blocks_.extend(state.sequence, wanted);
}

// One step reads what is new in all texts; long ones take several calls.
void Drafter::read_texts() {
  int64_t budget = limits_.step_tokens;
  std::erase_if(active_, [&](Active& active) { return !make_room(active); });
  auto left = static_cast<int64_t>(active_.size());
  for (Active& active : active_) {
    const int64_t behind = std::ssize(active.text->tokens) - active.first;
    active.rows = std::min(behind, std::max<int64_t>(1, budget / left--));
    budget -= active.rows;
  }
}

void Drafter::propose(std::span<const DraftText> texts, const RowCost& large, ThreadPool& pool,
                      std::vector<Guess>& guesses) {
  guesses.clear();
  ++calls_;
  choose(texts, large);
  if (active_.empty()) return;
  read_texts();
  while (!active_.empty()) {
    step(pool);
    for (Active& active : active_) {
      const bool is_done = std::ssize(active.guess.tokens) == active.count;
      // One whose text is not read yet goes on with the next call.
      active.rows = active.guess.tokens.empty() || is_done ? 0 : 1;
      if (is_done) guesses.push_back(std::move(active.guess));
    }
    std::erase_if(active_, [](const Active& active) { return active.rows == 0; });
  }
}

void Drafter::step(ThreadPool& pool) {
  ids_.clear(), spans_.clear(), drawing_.clear();
  bool reads = false;
  for (size_t i = 0; i < active_.size(); ++i) {
    Active& active = active_[i];
    const std::span<const int32_t> tokens = active.text->tokens;
    const auto read = std::ssize(active.state->read);
    for (int64_t t = read; t < read + active.rows; ++t)
      active.state->read.push_back(t < std::ssize(tokens)
                                       ? tokens[static_cast<size_t>(t)]
                                       : active.guess.tokens[static_cast<size_t>(t - std::ssize(tokens))]);
    ids_.insert(ids_.end(), active.state->read.end() - active.rows, active.state->read.end());
    const bool is_wanted = std::ssize(active.state->read) >= std::ssize(tokens);
    spans_.push_back({.tokens = active.rows,
                      .position = read,
                      .blocks = active.state->sequence.blocks.data(),
                      .wanted = is_wanted ? 1 : 0});
    if (is_wanted) drawing_.push_back(i);
    reads |= active.rows > 2;
  }
  const double start = now_seconds();
  model_->step({ids_, spans_}, logits_.data(), pool);
  const double seconds = now_seconds() - start;
  ++steps_;
  seconds_ += seconds;
  if (!reads) {
    cost_.observe(std::ssize(ids_), seconds);
    is_measured_ = true;
  }
  pool.parallel_for(std::ssize(drawing_), [&](int64_t row, int thread) {
    draw(active_[drawing_[static_cast<size_t>(row)]], static_cast<size_t>(row),
         samplers_[static_cast<size_t>(thread)]);
  });
}

void Drafter::draw(Active& active, size_t row, Sampler& sampler) {
  const auto own = static_cast<size_t>(model_->info().vocabulary);
  std::span<float> logits = std::span(logits_).subspan(row * own, own);
  std::vector<float> padded;
  if (own != static_cast<size_t>(limits_.vocabulary)) {
    // Models of one family often differ in how many rows without a token they have at the end.
    padded.assign(static_cast<size_t>(limits_.vocabulary), -HUGE_VALF);
    std::copy_n(logits.begin(), std::min(own, padded.size()), padded.begin());
    logits = padded;
  }
  SamplingOptions sampling = *active.text->sampling;
  sampling.top_logprobs = -1;
  const int64_t place = active.text->generated + std::ssize(active.guess.tokens);
  const int32_t token = sampler.sample(logits, sampling, active.text->counts, place).token;
  // A draft whose weights are damaged guesses something wrong.
  active.guess.tokens.push_back(std::max(token, 0));
}

}  // namespace headrace
