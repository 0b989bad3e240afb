// encode_batch and encode_padded on several threads: the same as one text after the other, for every family.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "test_model.h"
#include "text/encode_padded.h"
#include "text/families.h"

namespace headrace {
namespace {

// Enough for several of the portions that threads take.
std::vector<std::string> make_texts(size_t count) {
  std::mt19937 random(1);
  std::vector<std::string> texts;
  const auto& words = family_words();
  for (size_t i = 0; i < count; ++i) {
    std::string text = i % 7 == 0 ? "<s> [SEP] Ab " : "";
    for (size_t length = random() % 60; length > 0; --length)
      text += random() % 3 == 0 ? std::string(1, static_cast<char>(' ' + random() % 95))
                                : words[random() % words.size()];
    texts.push_back(std::move(text));
  }
  return texts;
}

std::vector<std::string_view> views_of(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

TEST(EncodeBatchTest, ThreadsGiveWhatOneTextAfterTheOtherGives) {
  const std::vector<std::string> texts = make_texts(4000);
  const auto views = views_of(texts);
  for (const Family& family : make_families()) {
    const EncodeOptions options = {.max_tokens = 50};
    RaggedIds expected;
    for (const std::string_view text : views) {
      family.tokenizer->encode_ids(text, options, expected.ids);
      expected.cu_lengths.push_back(static_cast<int32_t>(expected.ids.size()));
    }
    for (const int threads : {0, 1, 2, 5}) {
      const RaggedIds found = family.tokenizer->encode_batch(views, options, threads);
      EXPECT_EQ(found.ids, expected.ids) << family.name << ", " << threads;
      EXPECT_EQ(found.cu_lengths, expected.cu_lengths) << family.name << ", " << threads;
    }
  }
}

TEST(EncodeBatchTest, SeveralCallsAtOnceShareATokenizer) {
  const std::vector<std::string> texts = make_texts(1500);
  const auto views = views_of(texts);
  for (const Family& family : make_families()) {
    const RaggedIds expected = family.tokenizer->encode_batch(views, {}, 1);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 3; ++caller)
      callers.emplace_back([&] {
        const RaggedIds found = family.tokenizer->encode_batch(views, {}, 2);
        EXPECT_EQ(found.ids, expected.ids) << family.name;
        EXPECT_EQ(family.tokenizer->encode(views[1], {}).ids.size(),
                  static_cast<size_t>(expected.cu_lengths[2] - expected.cu_lengths[1]));
      });
    for (std::thread& caller : callers) caller.join();
  }
}

TEST(EncodeBatchTest, OneBadTextFailsTheBatch) {
  const Family family = std::move(make_families().front());
  std::vector<std::string> texts = make_texts(4000);
  texts[3000] = "\xFF";
  const auto views = views_of(texts);
  for (const int threads : {1, 3}) {
    EXPECT_EQ(error_of([&] { family.tokenizer->encode_batch(views, {}, threads); }).kind(),
              ErrorKind::kInvalidArgument);
    EXPECT_EQ(error_of([&] { encode_padded(*family.tokenizer, views, {}, {}, {}, threads); }).kind(),
              ErrorKind::kInvalidArgument);
  }
  EXPECT_EQ(family.tokenizer->encode_batch({}, {}, 4).cu_lengths, (std::vector<int32_t>{0}));
}

TEST(EncodePaddedTest, RowsAreTheEncodingsFilledUp) {
  const std::vector<std::string> texts = make_texts(300);
  const auto views = views_of(texts);
  const std::vector<std::string_view> pairs(views.rbegin(), views.rend());
  const EncodeOptions options = {.max_tokens = 20, .direction = Direction::kLeft, .stride = 3};
  const Padding padding = {
      .length = 4, .multiple_of = 8, .direction = Direction::kLeft, .id = 9, .type_id = 1};
  for (const Family& family : make_families()) {
    const PaddedBatch one = encode_padded(*family.tokenizer, views, pairs, options, padding, 1);
    const PaddedBatch three = encode_padded(*family.tokenizer, views, pairs, options, padding, 3);
    EXPECT_EQ(one.ids, three.ids) << family.name;
    EXPECT_EQ(one.offsets, three.offsets) << family.name;
    EXPECT_EQ(one.width, 24) << family.name;
    EXPECT_EQ(one.ids.size(), static_cast<size_t>(one.num_rows * one.width));
    EXPECT_EQ(one.offsets.size(), 2 * one.ids.size());
    EXPECT_EQ(one.rows.size(), static_cast<size_t>(one.num_rows));
    size_t row = 0;
    for (size_t i = 0; i < views.size(); ++i) {
      const Encoding whole = family.tokenizer->encode_pair(views[i], pairs[i], options);
      for (size_t part = 0; part <= whole.overflowing.size(); ++part, ++row) {
        const Encoding& expected = part == 0 ? whole : whole.overflowing[part - 1];
        const auto end = one.ids.begin() + static_cast<ptrdiff_t>((row + 1) * 24);
        const auto size = static_cast<ptrdiff_t>(expected.ids.size());
        EXPECT_EQ(std::vector<int32_t>(end - size, end), expected.ids) << family.name;
        EXPECT_EQ(one.rows[row], static_cast<int32_t>(i)) << family.name;
      }
    }
    EXPECT_EQ(row, one.rows.size());
  }
}

TEST(EncodePaddedTest, NothingAndTooMuch) {
  const Family family = std::move(make_families().front());
  const PaddedBatch nothing = encode_padded(*family.tokenizer, {}, {}, {}, {}, 2);
  EXPECT_EQ(nothing.num_rows, 0);
  EXPECT_EQ(nothing.width, 0);
  const std::vector<std::string_view> texts = {"a", "b"};
  EXPECT_EQ(error_of([&] { encode_padded(*family.tokenizer, texts, {}, {}, {.length = 1 << 30}, 1); }).kind(),
            ErrorKind::kInvalidArgument);
}

}  // namespace
}  // namespace headrace
