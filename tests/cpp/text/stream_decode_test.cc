#include "text/stream_decode.h"

#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"
#include "text/decoder_json.h"

namespace headrace {
namespace {

constexpr char kLlama[] = R"({"type":"Sequence","decoders":[
    {"type":"Replace","pattern":{"String":"\u2581"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},
    {"type":"Strip","content":" ","start":1,"stop":0}]})";
constexpr char kSentencePiece[] = R"({"type":"SentencePiece","unk_token":"a","unk_surface":" ? ",
    "byte_fallback":true,"add_dummy_prefix":true,"remove_extra_whitespaces":false})";
constexpr char kSentencePieceStripped[] = R"({"type":"SentencePiece","unk_token":"a","unk_surface":" ? ",
    "byte_fallback":true,"add_dummy_prefix":true,"remove_extra_whitespaces":true})";
constexpr char kMetaspace[] = R"({"type":"Metaspace","replacement":"\u2581","prepend_scheme":"always"})";
constexpr char kByteLevel[] = R"({"type":"ByteLevel"})";
constexpr char kWordPiece[] = R"({"type":"WordPiece","prefix":"##","cleanup":true})";
constexpr char kWordEnd[] = R"({"type":"BPEDecoder","suffix":"</w>"})";
constexpr char kCtc[] = R"({"type":"CTC","pad_token":"<pad>","word_delimiter_token":"|","cleanup":true})";

// A decoder over a list of tokens; those in <angles> without 0x are special and skipped.
class Decoding {
 public:
  Decoding(const char* json, std::vector<std::string> tokens)
      : decoder_(read_decoder(JsonDocument(json, "test").root())),
        has_bytes_(std::string_view(json).find("ByteFallback") != std::string_view::npos ||
                   std::string_view(json).find("byte_fallback") != std::string_view::npos),
        tokens_(std::move(tokens)) {}

  std::string operator()(std::span<const int32_t> ids) const {
    ++num_calls_;
    num_ids_ += ids.size();
    std::vector<std::string> chosen;
    for (const int32_t id : ids)
      if (const std::string& token = tokens_[static_cast<size_t>(id)]; token[0] != '$')
        chosen.push_back(token);
    decoder_->apply(chosen);
    std::string text;
    for (const std::string& part : chosen) text += part;
    return text;
  }
  bool is_byte(int32_t id) const { return has_bytes_ && tokens_[static_cast<size_t>(id)].starts_with("<0x"); }
  size_t num_tokens() const { return tokens_.size(); }

  StreamDecoder stream() const {
    return StreamDecoder([this](std::span<const int32_t> ids) { return (*this)(ids); },
                         [this](int32_t id) { return is_byte(id); });
  }

  mutable size_t num_calls_ = 0;
  mutable size_t num_ids_ = 0;  // decoded in all calls

 private:
  std::unique_ptr<Decoder> decoder_;
  bool has_bytes_ = false;
  std::vector<std::string> tokens_;
};

std::vector<std::string> pieces(const Decoding& decoding, const std::vector<int32_t>& ids) {
  StreamDecoder stream = decoding.stream();
  std::vector<std::string> result;
  for (const int32_t id : ids) result.push_back(stream.push(id));
  result.push_back(stream.finish());
  return result;
}

TEST(StreamDecodeTest, SpacesOfWordsSurvive) {
  const Decoding llama(kLlama, {"\xE2\x96\x81Hi", "\xE2\x96\x81the", "re", "\xE2\x96\x81"});
  EXPECT_EQ(pieces(llama, {0, 1, 2, 3, 3, 0}),
            (std::vector<std::string>{"Hi", " the", "re", " ", " ", " Hi", ""}));
  const Decoding bert(kWordPiece, {"un", "##believ", "##able", "!"});
  EXPECT_EQ(pieces(bert, {0, 1, 2, 3, 0}),
            (std::vector<std::string>{"un", "believ", "able", "!", " un", ""}));
}

TEST(StreamDecodeTest, CharactersWaitForTheirLastByte) {
  // U+4E2D is E4 B8 AD, which GPT-2's alphabet spells U+00E4 U+00B8 U+0143.
  const Decoding bytes(kByteLevel, {"\xC3\xA4", "\xC2\xB8", "\xC5\x83", "a"});
  EXPECT_EQ(pieces(bytes, {0, 1, 2, 3, 0, 3}), (std::vector<std::string>{"", "", "\xE4\xB8\xAD", "a", "",
                                                                         "\xEF\xBF\xBD"
                                                                         "a",
                                                                         ""}));
  EXPECT_EQ(pieces(bytes, {3, 0, 1}), (std::vector<std::string>{"a", "", "", "\xEF\xBF\xBD"}));
}

TEST(StreamDecodeTest, RowsOfBytesWaitForTheirEnd) {
  const Decoding llama(kLlama, {"<0xE4>", "<0xB8>", "<0xAD>", "a", "$s"});
  EXPECT_EQ(pieces(llama, {0, 1, 4, 2, 3}), (std::vector<std::string>{"", "", "", "",
                                                                      "\xE4\xB8\xAD"
                                                                      "a",
                                                                      ""}));
  // The stray byte spoils the whole row, in the reference too.
  EXPECT_EQ(pieces(llama, {0, 1, 2, 0}).back(), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(StreamDecodeTest, AnyStreamAddsUpToTheWholeText) {
  const std::vector<std::string> words = {
      "\xE2\x96\x81", "\xE2\x96\x81the", "a", "$s", "$t",           "##b",          "n't",    " ",
      "b</w>",        "<pad>",           "|", "!",  "\xEF\xBF\xBD", "\xE4\xB8\xAD", "<0xE4>", "<0xB8>",
      "<0xAD>"};
  const std::vector<std::string> spelled = {"\xC3\xA4", "\xC2\xB8", "\xC5\x83", "a",
                                            "$s",       "\xC4\xA0", "\xC3\xB0", "\xC3\xBF"};
  const std::pair<const char*, const std::vector<std::string>*> cases[] = {
      {kLlama, &words}, {kMetaspace, &words},   {kWordPiece, &words},     {kWordEnd, &words},
      {kCtc, &words},   {kByteLevel, &spelled}, {kSentencePiece, &words}, {kSentencePieceStripped, &words}};
  std::mt19937 random(1);
  for (const auto& [json, tokens] : cases) {
    const Decoding decoding(json, *tokens);
    for (int round = 0; round < 3000; ++round) {
      std::vector<int32_t> ids(random() % 40);
      for (int32_t& id : ids) id = static_cast<int32_t>(random() % tokens->size());
      std::string joined;
      for (const std::string& piece : pieces(decoding, ids)) {
        EXPECT_EQ(utf8_first_invalid(piece), piece.size());
        joined += piece;
      }
      ASSERT_EQ(joined, decoding(ids)) << json << " round " << round;
    }
  }
}

TEST(StreamDecodeTest, CostIsLinearWhateverComes) {
  const Decoding llama(kLlama, {"a", "$s", "$t", "\xEF\xBF\xBD", "\xE2\x96\x81"});
  const Decoding bytes(kByteLevel, {"\xC3\xA4", "\xC3\xBF"});
  const auto cost = [](const Decoding& decoding, auto id_at) {
    StreamDecoder stream = decoding.stream();
    for (int i = 0; i < 10000; ++i) stream.push(id_at(i));
    stream.finish();
    return decoding.num_ids_;
  };
  const size_t kMost = 10000 * 150;
  EXPECT_LT(cost(llama, [](int) { return 0; }), kMost);
  EXPECT_LT(cost(llama, [](int i) { return 1 + i % 2; }), 2 * kMost);
  EXPECT_LT(cost(llama, [](int) { return 3; }), 3 * kMost);
  EXPECT_LT(cost(llama, [](int) { return 4; }), 4 * kMost);
  EXPECT_LT(cost(bytes, [](int) { return 0; }), kMost);
  EXPECT_LT(cost(bytes, [](int) { return 1; }), 2 * kMost);
}

}  // namespace
}  // namespace headrace
