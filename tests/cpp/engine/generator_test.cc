// The generator with a tiny random language model: ends, damaged weights, masks.
#include "engine/generator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/stop_strings.h"
#include "engine/tiny_language_model.h"

namespace headrace {
namespace {

TEST(Generator, a_text_is_as_long_as_was_asked_for) {
  const TinyLanguageModel model;
  const auto generator = model.load();
  const auto stream = generator->submit(prompt(5, 1), asking(20, 1));
  const Ended ended = finish(*generator, *stream);
  EXPECT_EQ(ended.tokens.size(), 20u);
  EXPECT_EQ(ended.reason, "length");
  EXPECT_EQ(stream->prompt_tokens(), 5);
  EXPECT_EQ(stream->generated_tokens(), 20);
  EXPECT_FALSE(ended.text.empty());
}

TEST(Generator, weights_that_give_no_numbers_end_a_text_with_an_error) {
  for (const float damage : {std::nanf(""), HUGE_VALF}) {
    const TinyLanguageModel model(damage);
    const auto generator = model.load();
    const Ended ended = finish(*generator, *generator->submit(prompt(5, 1), asking(5, 1)));
    ASSERT_TRUE(ended.error);
    EXPECT_EQ(ended.error->kind(), ErrorKind::kInternal);
    EXPECT_EQ(generator->metrics().cache_used, 0);
  }
}

TEST(Generator, closing_ends_every_stream) {
  const TinyLanguageModel model;
  const auto generator = model.load();
  std::vector<std::shared_ptr<Stream>> streams;
  for (int32_t i = 0; i < 5; ++i) streams.push_back(generator->submit(prompt(5, i), asking(400, 1)));
  generator->close();
  for (const auto& stream : streams) {
    const StreamNews news = stream->take();
    EXPECT_TRUE(news.error || !news.finish_reason.empty());
  }
  EXPECT_THROW(generator->submit(prompt(5, 1), asking(5, 1)), Error);
}

TEST(Generator, what_it_cannot_do_is_refused_in_words) {
  const TinyLanguageModel model;
  const auto generator = model.load();
  const auto refused = [&](std::vector<int32_t> ids, GenerateOptions options) {
    EXPECT_THROW(generator->submit(ids, options), Error);
  };
  refused({}, asking(5, 1));
  refused({-1}, asking(5, 1));
  refused({128}, asking(5, 1));
  refused(prompt(512, 1), asking(1, 1));
  refused(prompt(500, 1), asking(13, 1));
  refused(prompt(5, 1), {.max_tokens = -1});
  refused(prompt(5, 1), {.max_tokens = 5, .min_tokens = 6});
  refused(prompt(5, 1), {.stop = {""}});
  refused(prompt(5, 1), {.stop_ids = {500}});
  refused(prompt(5, 1), {.sampling = {.temperature = -1}});
}

TEST(Generator, who_is_refused_is_told_to_wait_as_long_as_reading_takes) {
  const TinyLanguageModel model;
  const auto generator = model.load({.threads = 2, .max_sequences = 1, .max_queue_tokens = 60});
  finish(*generator, *generator->submit(prompt(400, 1), asking(1, 1)));
  std::vector<std::shared_ptr<Stream>> waiting;  // much longer than it takes to ask once more
  for (int32_t i = 0; i < 10; ++i) waiting.push_back(generator->submit(prompt(5, i), asking(500, 1)));
  try {
    generator->submit(prompt(400, 3), asking(1, 1));
    FAIL() << "more than may wait was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOverloaded);
    EXPECT_GE(error.retry_after_ms(), 1);
    EXPECT_LT(error.retry_after_ms(), 340) << "as if 1,000 tokens a second were read";
  }
}

TEST(StopStrings, are_found_across_pieces_and_nothing_else_is_held_back) {
  StopStrings stops({"END", "\n\n"});
  EXPECT_EQ(stops.push("one E"), "one ");
  EXPECT_EQ(stops.push("N"), "");
  EXPECT_EQ(stops.push("X two\n"), "ENX two");
  EXPECT_EQ(stops.push("three EN"), "\nthree ");
  EXPECT_FALSE(stops.found());
  EXPECT_EQ(stops.push("D four"), "");
  EXPECT_TRUE(stops.found());
  EXPECT_EQ(stops.finish(), "");
  StopStrings none({"END"});
  EXPECT_EQ(none.push("the E"), "the ");
  EXPECT_EQ(none.finish(), "E");
}

// Allows one token after another of a list, and fails where it is told to.
class ListMask final : public TokenMask {
 public:
  ListMask(std::vector<int32_t> tokens, int64_t failing) : tokens_(std::move(tokens)), failing_(failing) {}
  void fill(std::span<uint32_t> allowed) override {
    if (static_cast<int64_t>(taken) == failing_) throw Error(ErrorKind::kInternal, "the form is broken");
    const auto token = static_cast<size_t>(tokens_[taken]);
    allowed[token / 32] |= 1u << token % 32;
  }
  int64_t count_allowed(std::span<const int32_t> tokens) override {
    int64_t count = 0;
    while (count < std::ssize(tokens) && taken + static_cast<size_t>(count) < tokens_.size() &&
           tokens[static_cast<size_t>(count)] == tokens_[taken + static_cast<size_t>(count)])
      ++count;
    return count;
  }
  bool take(int32_t token) override {
    EXPECT_EQ(token, tokens_[taken]);
    return ++taken == tokens_.size();
  }
  size_t taken = 0;

 private:
  std::vector<int32_t> tokens_;
  int64_t failing_;
};

TEST(Generator, a_mask_says_what_may_come_and_harms_nobody_else) {
  const TinyLanguageModel model;
  const auto generator = model.load();
  const std::vector<int32_t> prompt{5, 6, 7}, wanted{9, 127, 31, 32, 64, 9};
  GenerateOptions free{.sampling = {.temperature = 1, .seed = 3}, .max_tokens = 12, .ignore_eos = true};
  const std::vector<int32_t> alone = finish(*generator, *generator->submit(prompt, free)).tokens;
  GenerateOptions bound = free, broken = free;
  bound.mask = std::make_shared<ListMask>(wanted, -1);
  broken.mask = std::make_shared<ListMask>(wanted, 2);
  const std::weak_ptr<TokenMask> mask = bound.mask;
  const auto first = generator->submit(prompt, bound), second = generator->submit(prompt, broken),
             third = generator->submit(prompt, free);
  bound.mask.reset();
  const Ended formed = finish(*generator, *first), failed = finish(*generator, *second);
  EXPECT_EQ(formed.tokens, wanted);
  EXPECT_EQ(formed.reason, "stop");
  EXPECT_EQ(failed.tokens, std::vector<int32_t>(wanted.begin(), wanted.begin() + 2));
  ASSERT_TRUE(failed.error);
  EXPECT_EQ(failed.error->message(), "the form is broken");
  EXPECT_EQ(finish(*generator, *third).tokens, alone);
  generator->close();
  EXPECT_TRUE(mask.expired());
}

}  // namespace
}  // namespace headrace
