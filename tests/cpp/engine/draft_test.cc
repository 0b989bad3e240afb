// A draft model changes no text, saves steps where it is right, and leaves nothing behind.
#include <gtest/gtest.h>

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

std::vector<Ended> alone(const TinyLanguageModel& model, const std::vector<GenerateOptions>& settings) {
  const auto generator = model.load({.threads = 2, .speculation = 0});
  std::vector<Ended> texts;
  for (size_t i = 0; i < settings.size(); ++i)
    texts.push_back(
        finish(*generator, *generator->submit(prompt(30, static_cast<int32_t>(i % 5)), settings[i])));
  return texts;
}

TEST(Draft, changes_no_text_alone_in_company_and_across_preemption) {
  const TinyLanguageModel model, other;
  const std::vector<GenerateOptions> settings = every_setting();
  const std::vector<Ended> expected = alone(model, settings);
  for (const TinyLanguageModel* draft : {&model, &other})
    for (const int64_t speculation : {int64_t{1}, int64_t{5}, kAdaptiveSpeculation}) {
      const auto generator = model.load(
          {.threads = 2, .context = 160, .cache_tokens = 640, .step_tokens = 64, .speculation = speculation},
          draft);
      for (size_t i = 0; i < 6; ++i) {
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
      EXPECT_EQ(metrics.draft_blocks, 0);
      EXPECT_GT(metrics.preemptions, 0);
      if (speculation > 0) {
        EXPECT_GT(metrics.draft_steps, 100);
      }
    }
}

TEST(Draft, that_is_the_model_itself_is_always_right) {
  const TinyLanguageModel model;
  for (const float temperature : {0.0f, 1.0f}) {
    const auto generator = model.load({.threads = 2, .speculation = 4}, &model);
    std::vector<std::shared_ptr<Stream>> streams;
    for (int32_t i = 0; i < 6; ++i) {
      GenerateOptions options = asking(101, static_cast<uint64_t>(i));
      options.sampling.temperature = temperature;
      streams.push_back(generator->submit(prompt(40, i), options));
    }
    for (const auto& stream : streams) EXPECT_EQ(finish(*generator, *stream).tokens.size(), 101u);
    const GeneratorMetrics metrics = generator->metrics();
    EXPECT_GE(static_cast<double>(metrics.accepted_tokens),
              0.97 * static_cast<double>(metrics.proposed_tokens));
    EXPECT_LE(metrics.steps, 50) << "of 101 tokens each";
  }
}

TEST(Draft, that_is_never_right_is_hardly_asked) {
  const TinyLanguageModel model, other;
  const auto generator = model.load({.threads = 2}, &other);
  EXPECT_EQ(finish(*generator, *generator->submit(prompt(40, 1), asking(400, 3))).tokens.size(), 400u);
  const GeneratorMetrics metrics = generator->metrics();
  EXPECT_LT(metrics.draft_steps, 200);
  EXPECT_LT(metrics.proposed_tokens, 100);
}

TEST(Draft, of_another_vocabulary_is_refused) {
  const TinyLanguageModel model;
  try {
    model.load({.threads = 2}, &model, 100);
    FAIL() << "taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    EXPECT_NE(error.message().find("token 100 is none, the model's is 'w100'"), std::string::npos)
        << error.message();
  }
  EXPECT_THROW(model.load({.threads = 2, .speculation = 0}, &model), Error);
}

TEST(Draft, with_damaged_weights_harms_nobody) {
  const TinyLanguageModel model, damaged(std::nanf(""));
  const std::vector<GenerateOptions> settings{asking(40, 1), asking(40, 2)};
  const std::vector<Ended> expected = alone(model, settings);
  const auto generator = model.load({.threads = 2, .speculation = 3}, &damaged);
  for (size_t i = 0; i < 2; ++i)
    expect_same(finish(*generator, *generator->submit(prompt(30, static_cast<int32_t>(i)), settings[i])),
                expected[i], "beside a damaged draft");
}

TEST(Draft, random_ends_leak_nothing_and_harm_nobody) {
  const TinyLanguageModel model;
  std::vector<GenerateOptions> settings;
  for (int32_t i = 0; i < 5; ++i) settings.push_back(asking_for_either(12, i));
  const std::vector<Ended> quiet = alone(model, settings);
  const auto generator = model.load({.threads = 2,
                                     .context = 256,
                                     .cache_tokens = 640,
                                     .step_tokens = 40,
                                     .max_sequences = 10,
                                     .max_queue_tokens = 2000,
                                     .speculation = 3},
                                    &model);
  std::atomic<int> whole{0}, ended{0};
  const auto client = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 120; ++i) {
      const auto which = static_cast<int32_t>(random() % 5);
      const uint32_t kind = random() % 3;
      GenerateOptions options = asking_for_either(kind == 0 ? 12 : 150, which);
      if (kind == 1) options.timeout_us = 1 + static_cast<int64_t>(random() % 5000);
      try {
        const auto stream = generator->submit(prompt(30, which), options);
        if (kind == 2) {
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
          generator->cancel(stream->id());
        }
        const Ended end = finish(*generator, *stream);
        end.error ? ++ended : ++whole;
        if (kind == 0) {
          ASSERT_EQ(end.tokens, quiet[static_cast<size_t>(which)].tokens);
        }
      } catch (const Error& error) {
        ASSERT_EQ(error.kind(), ErrorKind::kOverloaded);
      }
    }
  };
  std::vector<std::thread> clients;
  for (unsigned seed = 0; seed < 4; ++seed) clients.emplace_back(client, seed);
  for (std::thread& thread : clients) thread.join();
  EXPECT_GT(whole, 60);
  EXPECT_GT(ended, 60);
  const GeneratorMetrics metrics = generator->metrics();
  EXPECT_EQ(metrics.cache_used, 0);
  EXPECT_EQ(metrics.draft_blocks, 0);
  EXPECT_GT(metrics.accepted_tokens, 100);
}

}  // namespace
}  // namespace headrace
