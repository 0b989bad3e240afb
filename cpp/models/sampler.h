// Logits to the next token.
//
//   logits -> bias and penalties -> temperature -> top_k, top_p, min_p -> draw
//
// The draw depends on the seed and on how many tokens were generated, and on nothing else: a request gives
// the same tokens alone and in any company. Penalties as OpenAI's API (presence, frequency) and as Keskar et
// al. 2019 (arXiv:1909.05858; repetition) define them; top_p: Holtzman et al. 2019 (arXiv:1904.09751); min_p:
// Nguyen et al. 2024 (arXiv:2407.01082).
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace headrace {

struct SamplingOptions {
  float temperature = 1;  // 0: the likeliest token
  int64_t top_k = 0;      // only the likeliest so many; 0: all
  float top_p = 1;        // only the likeliest that together have this probability
  float min_p = 0;        // only those at least this times as likely as the likeliest
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;
  int64_t top_logprobs = -1;  // how many likeliest tokens to tell, with their log probabilities; -1: none
};

// Throws Error(kInvalidArgument) that names the option, what was given and what is allowed.
void check(const SamplingOptions& options, int64_t vocabulary);

struct Sampled {
  int32_t token = -1;  // -1: the logits were no numbers
  // Of the model itself, before penalties and temperature; set where top_logprobs >= 0.
  float logprob = 0;
  std::vector<std::pair<int32_t, float>> top;
};

// What a sequence has said so far, as penalties count it.
class TokenCounts {
 public:
  void add_prompt(std::span<const int32_t> tokens);
  void add(int32_t token) { ++counts_[token].generated; }

  struct Count {
    int32_t generated = 0;
    bool in_prompt = false;
  };
  const std::unordered_map<int32_t, Count>& counts() const { return counts_; }

 private:
  std::unordered_map<int32_t, Count> counts_;
};

// One for each thread that samples; keeps its working memory.
class Sampler {
 public:
  // logits [V] are changed. counts: may be null where no penalty is asked for. generated: how many tokens
  // the sequence has generated. forbidden: tokens that may not come. allowed: where it is not empty, a bit
  // for each token that may.
  Sampled sample(std::span<float> logits, const SamplingOptions& options, const TokenCounts* counts,
                 int64_t generated, std::span<const int32_t> forbidden = {},
                 std::span<const uint32_t> allowed = {});

 private:
  struct Candidate {
    float logit;
    int32_t token;
    bool operator>(const Candidate& other) const {
      return logit != other.logit ? logit > other.logit : token < other.token;
    }
  };
  void keep_likeliest(std::span<const float> logits, int64_t count);
  void keep_above(std::span<const float> logits, float least);
  int32_t draw(std::span<const float> logits, const SamplingOptions& options, float top, int64_t generated);

  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
  std::vector<float> own_;  // the model's logits, where their probabilities are to be told
};

}  // namespace headrace
