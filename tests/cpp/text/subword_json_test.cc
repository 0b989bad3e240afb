#include "text/subword_json.h"

#include "test_model.h"
#include "text/word_level.h"
#include "text/wordpiece_model.h"

namespace headrace {
namespace {

using Ids = std::vector<int32_t>;
using Tokens = std::vector<TestToken>;

TEST(WordLevelTest, PiecesAreTokens) {
  TestModel model(R"({"type":"WordLevel","vocab":{"<unk>":0,"one":1,"two":7},"unk_token":"<unk>"})");
  EXPECT_EQ(model.encode({"two", "three", "one"}), (Tokens{{7, 0, 3}, {0, 3, 8}, {1, 8, 11}}));
  EXPECT_STREQ(model.parts().model->kind(), "WordLevel");
  TestModel open(R"({"type":"WordLevel","vocab":{"one":1},"unk_token":"<unk>"})");
  EXPECT_EQ(open.ids({"one"}), (Ids{1}));
  EXPECT_EQ(error_of([&] { open.ids({"two"}); }).kind(), ErrorKind::kInvalidArgument);
}

TEST(WordPieceModelTest, SpansLeaveOutThePrefix) {
  TestModel model(R"({"type":"WordPiece","vocab":{"[UNK]":0,"un":1,"##happy":2,"##ly":3,"happy":4},
                      "unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":20})");
  EXPECT_EQ(model.encode({"unhappyly", "unx", "happy"}),
            (Tokens{{1, 0, 2}, {2, 2, 7}, {3, 7, 9}, {0, 9, 12}, {4, 12, 17}}));
}

TEST(SubwordJsonTest, OldFilesDoNotSayTheType) {
  EXPECT_STREQ(TestModel(R"({"vocab":{"a":0},"merges":[]})").parts().model->kind(), "BPE");
  EXPECT_STREQ(TestModel(R"({"vocab":[["a",0]],"unk_id":0})").parts().model->kind(), "Unigram");
  EXPECT_STREQ(TestModel(R"({"vocab":{"a":0},"unk_token":"a"})").parts().model->kind(), "WordLevel");
  EXPECT_STREQ(TestModel(R"({"vocab":{"a":0},"unk_token":"a","continuing_subword_prefix":"##",
                             "max_input_chars_per_word":100})")
                   .parts()
                   .model->kind(),
               "WordPiece");
  EXPECT_EQ(error_of([] { TestModel(R"({"vocab":{}})"); }).kind(), ErrorKind::kCorruptFile);
}

TEST(SubwordJsonTest, NamesWhatIsNotSupported) {
  const Error error = error_of([] { TestModel(R"({"type":"Mystery","vocab":{}})"); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_NE(error.message().find("Mystery"), std::string::npos);
  EXPECT_EQ(error_of([] { TestModel("[]"); }).kind(), ErrorKind::kCorruptFile);
  EXPECT_EQ(
      error_of([] { TestModel(R"({"type":"WordLevel","vocab":{"a":0},"unk_token":"a"})", true); }).kind(),
      ErrorKind::kCorruptFile);
}

}  // namespace
}  // namespace headrace
