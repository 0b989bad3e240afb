#include "text/post_process.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "text/post_processor_json.h"
#include "text/truncate.h"

namespace headrace {
namespace {

using Ids = std::vector<int32_t>;
using Offsets = std::vector<std::pair<int32_t, int32_t>>;

// 0 [CLS], 1 [SEP], 2 " a", 3 "b ", 4 "  ", 5 "c"; a space spelled as GPT-2 does.
const Vocabulary& vocabulary() {
  static const Vocabulary made = [] {
    Vocabulary v;
    const char* const tokens[] = {"[CLS]",
                                  "[SEP]",
                                  "\xC4\xA0"
                                  "a",
                                  "b\xC4\xA0",
                                  "\xC4\xA0\xC4\xA0",
                                  "c"};
    for (int32_t id = 0; id < 6; ++id) v.add(tokens[id], id);
    return v;
  }();
  return made;
}

Encoding text(Ids ids, Offsets offsets = {}) {
  Encoding encoding;
  offsets.resize(ids.size());
  encoding.ids = std::move(ids);
  encoding.offsets = std::move(offsets);
  return encoding;
}

std::unique_ptr<PostProcessor> read(const std::string& json) {
  const JsonDocument document(json, "test.json");
  return read_post_processor(document.root(), vocabulary());
}

const std::string kSpecials = R"("special_tokens":{
    "[CLS]":{"id":"[CLS]","ids":[0],"tokens":["[CLS]"]},
    "M":{"id":"M","ids":[1,5],"tokens":["[SEP]","c"]}})";

const std::string kTemplate = R"({"type":"TemplateProcessing","single":[
    {"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":2}},
    {"SpecialToken":{"id":"M","type_id":3}}],"pair":[{"Sequence":{"id":"B","type_id":4}},
    {"SpecialToken":{"id":"M","type_id":0}},{"Sequence":{"id":"A","type_id":1}}],)" +
                              kSpecials + "}";

Encoding process(const std::string& json, Encoding first, std::optional<Encoding> second = {},
                 bool add = true) {
  return post_process(read(json).get(), std::move(first), std::move(second), add, vocabulary());
}

TEST(PostProcessTest, NoneJoinsTheTexts) {
  const Encoding one = post_process(nullptr, text({2, 3}), std::nullopt, true, vocabulary());
  EXPECT_EQ(one.type_ids, (Ids{0, 0}));
  const Encoding two = post_process(nullptr, text({2, 3}), text({5}), true, vocabulary());
  EXPECT_EQ(two.ids, (Ids{2, 3, 5}));
  EXPECT_EQ(two.type_ids, (Ids{0, 0, 1}));
  EXPECT_EQ(two.sequence_ids, (Ids{0, 0, 1}));
}

TEST(PostProcessTest, TemplatesPutTextsAndTokensInOrder) {
  const Encoding one = process(kTemplate, text({2, 3}, {{0, 2}, {2, 4}}));
  EXPECT_EQ(one.ids, (Ids{0, 2, 3, 1, 5}));
  EXPECT_EQ(one.type_ids, (Ids{0, 2, 2, 3, 3}));
  EXPECT_EQ(one.sequence_ids, (Ids{-1, 0, 0, -1, -1}));
  EXPECT_EQ(one.offsets, (Offsets{{0, 0}, {0, 2}, {2, 4}, {0, 0}, {0, 0}}));
  EXPECT_EQ(one.special_mask, (std::vector<uint8_t>{1, 0, 0, 1, 1}));
  const Encoding two = process(kTemplate, text({2}), text({3}));
  EXPECT_EQ(two.ids, (Ids{3, 1, 5, 2}));
  EXPECT_EQ(two.type_ids, (Ids{4, 0, 0, 1}));
  EXPECT_EQ(two.sequence_ids, (Ids{1, -1, -1, 0}));
  EXPECT_EQ(process(kTemplate, text({2}), text({3}), false).ids, (Ids{3, 2}));
  const auto processor = read(kTemplate);
  EXPECT_EQ(processor->num_added(false), 3);
  EXPECT_EQ(processor->num_added(true), 2);
  ASSERT_NE(processor->single_template(), nullptr);
  EXPECT_EQ(processor->single_template()->before.size(), 1U);
  EXPECT_EQ(processor->single_template()->behind.size(), 2U);
  EXPECT_EQ(processor->single_template()->type_id, 2);
}

TEST(PostProcessTest, ClassifierTokens) {
  const std::string ends = R"("cls":["[CLS]",0],"sep":["[SEP]",1])";
  const std::string bert = R"({"type":"BertProcessing",)" + ends + "}";
  EXPECT_EQ(process(bert, text({2}), text({3})).ids, (Ids{0, 2, 1, 3, 1}));
  EXPECT_EQ(process(bert, text({2}), text({3})).type_ids, (Ids{0, 0, 0, 1, 1}));
  const std::string roberta =
      R"({"type":"RobertaProcessing","trim_offsets":true,"add_prefix_space":true,)" + ends + "}";
  const Encoding two = process(roberta, text({2}, {{0, 1}}), text({3, 2}, {{0, 2}, {2, 4}}));
  EXPECT_EQ(two.ids, (Ids{0, 2, 1, 1, 3, 2, 1}));
  EXPECT_EQ(two.type_ids, Ids(7, 0));
  EXPECT_EQ(two.sequence_ids, (Ids{-1, 0, -1, -1, 1, 1, -1}));
  EXPECT_EQ(two.offsets, (Offsets{{0, 0}, {0, 1}, {0, 0}, {0, 0}, {0, 1}, {3, 4}, {0, 0}}));
  EXPECT_EQ(read(roberta)->num_added(true), 4);
}

TEST(PostProcessTest, OffsetsLoseTheirSpaces) {
  const auto trimmed = [](bool prefix, Ids ids, Offsets offsets) {
    const std::string json = std::string(R"({"type":"ByteLevel","trim_offsets":true,"add_prefix_space":)") +
                             (prefix ? "true" : "false") + "}";
    return process(json, text(std::move(ids), std::move(offsets))).offsets;
  };
  EXPECT_EQ(trimmed(false, {2, 3, 4}, {{0, 2}, {2, 4}, {4, 6}}), (Offsets{{1, 2}, {2, 3}, {6, 6}}));
  EXPECT_EQ(trimmed(true, {2, 2}, {{0, 2}, {2, 4}}), (Offsets{{0, 2}, {3, 4}}));
  EXPECT_EQ(trimmed(true, {4}, {{0, 2}}), (Offsets{{2, 2}}));  // two spaces: none of them was added
}

TEST(PostProcessTest, SpellingsMoveAlongAndAreTrimmed) {
  Encoding encoding = text({5, 5}, {{0, 1}, {1, 4}});
  encoding.spellings.push_back({1, " c "});
  const Encoding out = process(R"({"type":"Sequence","processors":[
      {"type":"ByteLevel","trim_offsets":true,"add_prefix_space":false},)" +
                                   kTemplate + "]}",
                               encoding);
  EXPECT_EQ(out.offsets, (Offsets{{0, 0}, {0, 1}, {2, 3}, {0, 0}, {0, 0}}));
  ASSERT_EQ(out.spellings.size(), 1U);
  EXPECT_EQ(out.spellings[0].index, 2);
}

TEST(PostProcessTest, RefusesWhatItDoesNotKnow) {
  const auto refusal = [](const std::string& json) {
    try {
      read(json);
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::kInternal;
  };
  EXPECT_EQ(refusal(R"({"type":"Nonsense"})"), ErrorKind::kUnsupported);
  EXPECT_EQ(refusal(R"({"type":"BertProcessing","cls":["[CLS]",1],"sep":["[SEP]",1]})"),
            ErrorKind::kCorruptFile);
  EXPECT_EQ(
      refusal(R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"B","type_id":0}}],"pair":[],)" +
              kSpecials + "}"),
      ErrorKind::kCorruptFile);
  EXPECT_EQ(refusal(R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"X","type_id":0}}],
                        "pair":[],)" +
                    kSpecials + "}"),
            ErrorKind::kCorruptFile);
}

TEST(TruncateTest, PartsOverflowWithAStride) {
  Encoding encoding = text({0, 1, 2, 3, 4, 5});
  truncate(encoding, 3, 1, Direction::kRight);
  EXPECT_EQ(encoding.ids, (Ids{0, 1, 2}));
  ASSERT_EQ(encoding.overflowing.size(), 2U);
  EXPECT_EQ(encoding.overflowing[0].ids, (Ids{2, 3, 4}));
  EXPECT_EQ(encoding.overflowing[1].ids, (Ids{4, 5}));
  Encoding left = text({0, 1, 2, 3, 4, 5});
  truncate(left, 4, 0, Direction::kLeft);
  EXPECT_EQ(left.ids, (Ids{2, 3, 4, 5}));
  EXPECT_EQ(left.overflowing.at(0).ids, (Ids{0, 1}));
  Encoding all = text({0, 1});
  truncate(all, 0, 0, Direction::kRight);
  EXPECT_TRUE(all.ids.empty());
  EXPECT_EQ(all.overflowing.at(0).ids, (Ids{0, 1}));
}

TEST(TruncateTest, TheLongerTextGivesFirst) {
  const auto kept = [](size_t a, size_t b, int64_t max_tokens) {
    Encoding first = text(Ids(a, 2)), second = text(Ids(b, 3));
    truncate(first, &second, {.max_tokens = max_tokens});
    return std::pair(first.ids.size(), second.ids.size());
  };
  EXPECT_EQ(kept(3, 9, 20), std::pair(size_t{3}, size_t{9}));
  EXPECT_EQ(kept(3, 9, 8), std::pair(size_t{3}, size_t{5}));
  EXPECT_EQ(kept(9, 3, 8), std::pair(size_t{5}, size_t{3}));
  EXPECT_EQ(kept(9, 9, 7), std::pair(size_t{3}, size_t{4}));
  EXPECT_EQ(kept(10, 9, 7), std::pair(size_t{4}, size_t{3}));
}

TEST(TruncateTest, OneTextMayHaveToGiveAll) {
  using Strategy = Truncation::Strategy;
  Encoding first = text(Ids(5, 2)), second = text(Ids(3, 3));
  truncate(first, &second, {.max_tokens = 6, .strategy = Strategy::kOnlySecond});
  EXPECT_EQ(second.ids.size(), 1U);
  EXPECT_THROW(truncate(first, &second, {.max_tokens = 5, .strategy = Strategy::kOnlySecond}), Error);
  EXPECT_THROW(truncate(first, nullptr, {.max_tokens = 3, .strategy = Strategy::kOnlySecond}), Error);
  EXPECT_THROW(truncate(first, nullptr, {.max_tokens = 3, .stride = 3}), Error);
}

TEST(TruncateTest, OverflowsAreJoinedAndProcessed) {
  Encoding first = text({2, 3, 5});
  truncate(first, 2, 0, Direction::kRight);
  const Encoding one = process(kTemplate, first);
  ASSERT_EQ(one.overflowing.size(), 1U);
  EXPECT_EQ(one.overflowing[0].ids, (Ids{0, 5, 1, 5}));
  const Encoding two = process(kTemplate, first, text({4}));
  EXPECT_EQ(two.ids, (Ids{4, 1, 5, 2, 3}));
  EXPECT_EQ(two.overflowing.at(0).ids, (Ids{4, 1, 5, 5}));
}

TEST(PadTest, FillsUpToOneLength) {
  std::vector<Encoding> batch{text({2, 3, 5}), text({2})};
  for (Encoding& encoding : batch) complete(encoding, 0);
  pad(batch, {.multiple_of = 4, .direction = Direction::kLeft, .id = 1, .type_id = 7});
  EXPECT_EQ(batch[0].ids, (Ids{1, 2, 3, 5}));
  EXPECT_EQ(batch[1].ids, (Ids{1, 1, 1, 2}));
  EXPECT_EQ(batch[1].type_ids, (Ids{7, 7, 7, 0}));
  EXPECT_EQ(batch[1].attention_mask, (std::vector<uint8_t>{0, 0, 0, 1}));
  EXPECT_EQ(batch[1].special_mask, (std::vector<uint8_t>{1, 1, 1, 0}));
  EXPECT_EQ(batch[1].sequence_ids, (Ids{-1, -1, -1, 0}));
  pad(batch, {.length = 5, .id = 1});
  EXPECT_EQ(batch[0].ids, (Ids{1, 2, 3, 5, 1}));
  pad(batch, {.length = 2});
  EXPECT_EQ(batch[0].ids.size(), 5U);
}

}  // namespace
}  // namespace headrace
