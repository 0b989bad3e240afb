// Texts are the same with speculation and without: alone, in company, across preemption and random ends.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/generator.h"
#include "engine/tiny_language_model.h"

namespace headrace {
namespace {

void random_ends(int64_t speculation, KvType kv = KvType::kF32) {
  const TinyLanguageModel model;
  std::vector<std::vector<int32_t>> quiet;
  {
    const auto generator = model.load({.threads = 2, .kv = kv, .speculation = 0});
    for (int32_t i = 0; i < 8; ++i)
      quiet.push_back(finish(*generator, *generator->submit(prompt(40, i), asking_for_either(12, i))).tokens);
  }
  const auto generator = model.load({.threads = 2,
                                     .context = 256,
                                     .cache_tokens = 640,
                                     .kv = kv,
                                     .step_tokens = 40,
                                     .max_sequences = 10,
                                     .max_queue_tokens = 2000,
                                     .speculation = speculation});
  std::atomic<int> whole{0}, cancelled{0}, late{0}, refused{0};
  const auto client = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 250; ++i) {
      const auto which = static_cast<int32_t>(random() % 8);
      const uint32_t kind = random() % 3;
      GenerateOptions options = asking_for_either(kind == 0 ? 12 : 150, which);
      if (kind == 1) options.timeout_us = 1 + static_cast<int64_t>(random() % 5000);
      try {
        const auto stream = generator->submit(prompt(40, which), options);
        if (kind == 2) {
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
          generator->cancel(stream->id());
        }
        const Ended ended = finish(*generator, *stream);
        if (!ended.error) {
          ++whole;
          if (kind == 0) {
            ASSERT_EQ(ended.tokens, quiet[static_cast<size_t>(which)]);
          }
        } else if (ended.error->kind() == ErrorKind::kDeadline) {
          ++late;
        } else {
          ASSERT_EQ(ended.error->kind(), ErrorKind::kCancelled);
          ++cancelled;
        }
        ASSERT_FALSE(stream->has_news()) << "something came after the end";
      } catch (const Error& error) {
        ASSERT_EQ(error.kind(), ErrorKind::kOverloaded);
        ++refused;
      }
    }
  };
  std::vector<std::thread> clients;
  for (unsigned seed = 0; seed < 4; ++seed) clients.emplace_back(client, seed);
  for (std::thread& thread : clients) thread.join();
  EXPECT_EQ(whole + cancelled + late + refused, 1000);
  EXPECT_GT(whole, 100);
  EXPECT_GT(cancelled, 50);
  EXPECT_GT(late, 50);
  const GeneratorMetrics metrics = generator->metrics();
  EXPECT_EQ(metrics.cache_used, 0);
  EXPECT_EQ(metrics.running + metrics.waiting, 0);
  EXPECT_EQ(metrics.accepted_tokens > 0, speculation > 0);
}

TEST(Speculation, random_ends_leak_nothing_and_harm_nobody) { random_ends(0); }
TEST(Speculation, random_ends_with_proposals_leak_nothing_and_harm_nobody) { random_ends(6); }
TEST(Speculation, random_ends_with_keys_in_bf16_leak_nothing_and_harm_nobody) {
  random_ends(6, KvType::kBf16);
}
TEST(Speculation, random_ends_with_keys_in_int8_leak_nothing_and_harm_nobody) {
  random_ends(6, KvType::kInt8);
}

// With each type of keys and values.
class SpeculationOver : public testing::TestWithParam<KvType> {};
INSTANTIATE_TEST_SUITE_P(KvTypes, SpeculationOver,
                         testing::Values(KvType::kF32, KvType::kBf16, KvType::kInt8));

TEST_P(SpeculationOver, changes_no_text_alone_or_in_company) {
  const TinyLanguageModel model;
  const std::vector<GenerateOptions> settings = every_setting();
  std::vector<Ended> expected;
  {
    const auto generator = model.load({.threads = 2, .kv = GetParam(), .speculation = 0});
    for (size_t i = 0; i < settings.size(); ++i)
      expected.push_back(
          finish(*generator, *generator->submit(prompt(30, static_cast<int32_t>(i % 5)), settings[i])));
    EXPECT_EQ(generator->metrics().proposed_tokens, 0);
  }
  for (const int64_t speculation : {int64_t{1}, int64_t{3}, int64_t{16}, kAdaptiveSpeculation}) {
    const auto generator = model.load({.threads = 2, .kv = GetParam(), .speculation = speculation});
    for (size_t i = 0; i < settings.size(); ++i) {
      const auto stream = generator->submit(prompt(30, static_cast<int32_t>(i % 5)), settings[i]);
      expect_same(finish(*generator, *stream), expected[i], concat("alone ", i, " by ", speculation));
    }
    std::vector<std::shared_ptr<Stream>> streams;
    for (size_t i = 0; i < settings.size(); ++i)
      streams.push_back(generator->submit(prompt(30, static_cast<int32_t>(i % 5)), settings[i]));
    for (size_t i = 0; i < settings.size(); ++i)
      expect_same(finish(*generator, *streams[i]), expected[i], concat("beside ", i, " by ", speculation));
    const GeneratorMetrics metrics = generator->metrics();
    EXPECT_EQ(metrics.cache_used, 0);
    if (speculation > 0) {
      EXPECT_GT(metrics.accepted_tokens, 200);
      EXPECT_GT(metrics.proposed_tokens, metrics.accepted_tokens);
    }
  }
}

TEST_P(SpeculationOver, changes_no_text_across_preemption_and_cached_prompts) {
  const TinyLanguageModel model;
  std::vector<Ended> expected;
  const auto options = [](int32_t i) { return asking_for_few(90, static_cast<uint64_t>(i)); };
  {
    const auto generator = model.load({.threads = 2, .kv = GetParam(), .speculation = 0});
    for (int32_t i = 0; i < 12; ++i)
      expected.push_back(finish(*generator, *generator->submit(prompt(35, i % 3), options(i))));
  }
  const auto generator = model.load({.threads = 2,
                                     .context = 160,
                                     .cache_tokens = 320,
                                     .kv = GetParam(),
                                     .step_tokens = 64,
                                     .speculation = 5});
  std::vector<std::shared_ptr<Stream>> streams;
  for (int round = 0; round < 3; ++round) {
    streams.clear();
    for (int32_t i = 0; i < 12; ++i) streams.push_back(generator->submit(prompt(35, i % 3), options(i)));
    for (int32_t i = 0; i < 12; ++i)
      expect_same(finish(*generator, *streams[static_cast<size_t>(i)]), expected[static_cast<size_t>(i)],
                  concat("text ", i));
  }
  // What a text left in the cache is what it said: another that goes on from there reads the same.
  for (int32_t i = 0; i < 12; ++i) {
    std::vector<int32_t> longer = prompt(35, i % 3);
    const auto& said = expected[static_cast<size_t>(i)].tokens;
    longer.insert(longer.end(), said.begin(), said.begin() + 60);
    const auto stream = generator->submit(longer, asking_for_few(10, 5));
    GenerateOptions alone = asking_for_few(10, 5);
    alone.tenant = "another";
    expect_same(finish(*generator, *stream), finish(*generator, *generator->submit(longer, alone)),
                concat("what follows text ", i));
  }
  const GeneratorMetrics metrics = generator->metrics();
  EXPECT_GT(metrics.preemptions, 0);
  EXPECT_GT(metrics.accepted_tokens, 100);
  EXPECT_EQ(metrics.cache_used, 0);
}

TEST(Speculation, accepted_tokens_save_steps) {
  const TinyLanguageModel model;
  const auto steps = [&](int64_t speculation) {
    const auto generator = model.load({.threads = 2, .speculation = speculation});
    GenerateOptions options = asking(100, 1);
    options.sampling.logit_bias = {{10, 100.0f}};
    const auto stream = generator->submit(prompt(5, 1), options);
    EXPECT_EQ(finish(*generator, *stream).tokens, std::vector<int32_t>(100, 10));
    EXPECT_EQ(stream->accepted_tokens(), generator->metrics().accepted_tokens);
    return generator->metrics().steps;
  };
  EXPECT_EQ(steps(0), 100);
  EXPECT_LE(steps(4), 25);
  EXPECT_LE(steps(kAdaptiveSpeculation), 60);
}

// Lets only tokens of a few come, another few at odd places, and ends a text after so many.
class PatternMask final : public TokenMask {
 public:
  PatternMask(int64_t length, int64_t failing) : length_(length), failing_(failing) {}
  void fill(std::span<uint32_t> allowed) override {
    ++fills;
    if (taken_ == failing_) throw Error(ErrorKind::kInternal, "the form is broken");
    for (int32_t token = 0; token < kVocabulary; ++token)
      if (may_come(token, taken_)) allowed[static_cast<size_t>(token) / 32] |= 1u << token % 32;
  }
  int64_t count_allowed(std::span<const int32_t> tokens) override {
    int64_t count = 0;
    for (const int32_t token : tokens) {
      if (!may_come(token, taken_ + count)) break;
      ++count;
    }
    cut += std::ssize(tokens) - count;
    return count;
  }
  bool take(int32_t token) override {
    EXPECT_TRUE(may_come(token, taken_));
    return ++taken_ == length_;
  }
  int64_t fills = 0, cut = 0;

 private:
  bool may_come(int32_t token, int64_t place) const {
    return place < length_ && token >= 10 && token < (place % 2 || place > length_ / 2 ? 13 : 11);
  }
  int64_t taken_ = 0, length_, failing_;
};

TEST(Speculation, changes_no_text_of_a_form_and_saves_steps) {
  const TinyLanguageModel model;
  struct Run {
    std::vector<Ended> texts;
    int64_t steps, accepted, cut = 0;
  };
  const auto run = [&](int64_t speculation) {
    const auto generator = model.load({.threads = 2, .speculation = speculation});
    std::vector<std::shared_ptr<Stream>> streams;
    std::vector<std::shared_ptr<PatternMask>> masks;
    Run made{};
    for (int32_t i = 0; i < 12; ++i) {
      GenerateOptions options = asking(i % 4 == 3 ? 40 : 200, static_cast<uint64_t>(i));
      options.sampling.temperature = i % 3 == 0 ? 0.0f : 0.5f;
      options.sampling.top_logprobs = 2;
      if (i % 4 == 1) options.sampling.repetition_penalty = 1.2f;
      // One of them breaks, and a free one is beside them.
      masks.push_back(std::make_shared<PatternMask>(80, i == 5 ? 31 : -1));
      if (i != 7) options.mask = masks.back();
      streams.push_back(generator->submit(prompt(20, i), options));
    }
    for (const auto& stream : streams) made.texts.push_back(finish(*generator, *stream));
    made.steps = generator->metrics().steps, made.accepted = generator->metrics().accepted_tokens;
    EXPECT_EQ(generator->metrics().cache_used, 0);
    generator->close();
    for (const auto& mask : masks) made.cut += mask->cut;
    return made;
  };
  const Run plain = run(0);
  EXPECT_EQ(plain.accepted, 0);
  EXPECT_EQ(plain.texts[0].sampled.size(), 80u);
  EXPECT_EQ(plain.texts[0].reason, "stop");
  EXPECT_EQ(plain.texts[3].reason, "length");
  EXPECT_EQ(plain.texts[5].sampled.size(), 31u);
  for (const int64_t speculation : {int64_t{1}, int64_t{7}, kAdaptiveSpeculation}) {
    const Run with = run(speculation);
    for (size_t i = 0; i < plain.texts.size(); ++i) {
      expect_same(with.texts[i], plain.texts[i], concat("text ", i, " by ", speculation));
      EXPECT_EQ(with.texts[i].error.has_value(), i == 5);
    }
    if (speculation == 7) {
      EXPECT_GT(with.accepted, 100);
      EXPECT_GT(with.cut, 0) << "no proposal broke the form: the test tests nothing";
    }
  }
}

}  // namespace
}  // namespace headrace
