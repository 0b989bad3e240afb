#include <cmath>
#include <cstring>
#include <limits>

#include "test_model.h"
#include "text/base64.h"
#include "text/source_bert.h"
#include "text/source_gguf.h"
#include "text/source_sentencepiece.h"
#include "text/source_tiktoken.h"

namespace headrace {
namespace {

using Ids = std::vector<int32_t>;

// The model of a tokenizer.json.
class SourceModel {
 public:
  explicit SourceModel(std::string json, bool raw_bytes = false)
      : json_(std::move(json)), document_(json_, "source") {
    parts_ = read_model(document_.root().at("model"), raw_bytes);
  }
  Ids ids(const std::string& piece) const {
    IdBuffer ids;
    const Piece place = {0, static_cast<uint32_t>(piece.size())};
    parts_.model->encode(piece, {&place, 1}, *parts_.model->make_scratch(), ids, nullptr);
    return Ids(ids.data(), ids.data() + ids.size());
  }
  JsonValue root() const { return document_.root(); }
  const Vocabulary& vocabulary() const { return parts_.vocabulary; }

 private:
  std::string json_;
  JsonDocument document_;
  ModelParts parts_;
};

template <typename Function>
ErrorKind kind_of(Function&& f) {
  return error_of(f).kind();
}

TEST(Base64Test, BothWays) {
  const std::string bytes("\0\xFF\x10hello", 8);
  for (size_t size = 0; size <= bytes.size(); ++size) {
    std::string back;
    EXPECT_TRUE(base64_decode(base64_encode(bytes.substr(0, size)), back));
    EXPECT_EQ(back, bytes.substr(0, size));
  }
  EXPECT_EQ(base64_encode("ab"), "YWI=");
  std::string back;
  EXPECT_TRUE(base64_decode("YWI", back));
  EXPECT_EQ(back, "ab");
  EXPECT_FALSE(base64_decode("Y", back));
  EXPECT_FALSE(base64_decode("Y*I=", back));
}

TEST(SourceBertTest, LinesAreIds) {
  const SourceModel model(
      tokenizer_json_from_vocab_txt("[PAD]\n[UNK]\r\n[CLS]\n[SEP]\na\n##b\n\"\\\na", {}, "v"));
  EXPECT_EQ(model.ids("ab"), (Ids{7, 5}));  // the later line
  EXPECT_EQ(model.ids("\""), (Ids{1}));
  EXPECT_EQ(model.ids("\"\\"), (Ids{6}));
  EXPECT_EQ(model.root().at("post_processor").at("type").as_string(), "BertProcessing");
  EXPECT_EQ(model.root().at("added_tokens").size(), 4u);
  const SourceModel cased(
      tokenizer_json_from_vocab_txt("[UNK]", {.lowercase = false, .strip_accents = true}, "v"));
  EXPECT_FALSE(cased.root().at("normalizer").at("lowercase").as_bool());
  EXPECT_TRUE(cased.root().at("normalizer").at("strip_accents").as_bool());
  EXPECT_TRUE(cased.root().at("post_processor").is_null());
  EXPECT_EQ(kind_of([] { tokenizer_json_from_vocab_txt("a\n", {}, "v"); }), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind_of([] { tokenizer_json_from_vocab_txt("[UNK]\n\xFF", {}, "v"); }), ErrorKind::kCorruptFile);
}

// Lines for all bytes, ranked by value, and then some tokens.
std::string rank_file(const std::vector<std::string>& tokens) {
  std::string text;
  int rank = 0;
  const auto add = [&](const std::string& token) {
    text += base64_encode(token) + " " + std::to_string(rank++) + "\n";
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
  for (const std::string& token : tokens) add(token);
  return text;
}

TEST(SourceTiktokenTest, MergesByTheRankOfTheWhole) {
  const TiktokenEncoding plain{.pre_tokenizer = "null", .special_tokens = {{"<|end|>", 300}}};
  const auto make = [&](const std::vector<std::string>& tokens) {
    return SourceModel(tokenizer_json_from_tiktoken(rank_file(tokens), plain, "r"), true);
  };
  // abc comes of ab and c, since bc has a higher rank; xyz is reached by no merge.
  const SourceModel model = make({"ab", "abc", "bc", "xyz", "\xC3\xA9"});
  EXPECT_EQ(model.ids("abc"), (Ids{257}));
  EXPECT_EQ(model.ids("abcd"), (Ids{257, 'd'}));
  EXPECT_EQ(model.ids("dbc"), (Ids{'d', 258}));
  EXPECT_EQ(model.ids("xyz"), (Ids{259}));
  EXPECT_EQ(model.ids("xyzx"), (Ids{'x', 'y', 'z', 'x'}));
  EXPECT_EQ(model.ids("\xC3\xA9"), (Ids{260}));
  EXPECT_EQ(model.vocabulary().find("<|end|>"), 300);
}

TEST(SourceTiktokenTest, KnownEncodings) {
  for (const char* name : {"gpt2", "r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base"}) {
    const TiktokenEncoding encoding = tiktoken_encoding(name);
    EXPECT_EQ(encoding.special_tokens[0].first, "<|endoftext|>");
    EXPECT_TRUE(JsonDocument(encoding.pre_tokenizer, name).root().is_object());
  }
  EXPECT_EQ(tiktoken_encoding("o200k_harmony").special_tokens.size(), 201088u - 199998u);
  EXPECT_EQ(kind_of([] { tiktoken_encoding("mystery"); }), ErrorKind::kUnsupported);
}

TEST(SourceTiktokenTest, RefusesMalformedFiles) {
  const auto kind = [](const std::string& text) {
    return kind_of([&] { tokenizer_json_from_tiktoken(text, {"null", {}}, "r"); });
  };
  const std::string bytes = rank_file({});
  EXPECT_EQ(kind(""), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(bytes.substr(bytes.find('\n') + 1)), ErrorKind::kCorruptFile);
  for (const char* line : {"YWI=", "YWI= ", "YWI= x", "YWI= -1", "YWI= 256x", "YWI= 99999999999",
                           "YWI= 16000000", "Y 256", " 256", "YQ== 256", "YWI= 255"})
    EXPECT_EQ(kind(bytes + line), ErrorKind::kCorruptFile) << line;
  EXPECT_EQ(kind(bytes + base64_encode(std::string(513, 'a')) + " 256"), ErrorKind::kCorruptFile);
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += static_cast<char>(value | 128);
  return bytes + static_cast<char>(value);
}
std::string field(uint64_t number, uint64_t value) { return varint(number << 3) + varint(value); }
std::string field(uint64_t number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string field(uint64_t number, float value) {
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &value, 4);
  return varint(number << 3 | 5) + bytes;
}
std::string piece(const std::string& text, float score, uint64_t type = 1) {
  return field(1, field(1, text) + field(2, score) + (type == 1 ? "" : field(3, type)));
}

const std::string kSpace = "\xE2\x96\x81";

TEST(SourceSentencePieceTest, Unigram) {
  const std::string file = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece(kSpace, -2) + piece("a", -3) +
                           piece(kSpace + "a", -2.5f) + piece("#", 0, 4) + piece("aa", 9, 5) +
                           field(2, field(3, uint64_t{1})) +
                           field(3, field(2, std::string("map")) + field(4, uint64_t{1}));
  const SourceModel model(tokenizer_json_from_sentencepiece(file, "m"));
  EXPECT_EQ(model.ids(kSpace + "aa#"), (Ids{4, 3, 5}));
  EXPECT_EQ(model.ids("bb" + kSpace + "b"), (Ids{0, 2, 0}));
  EXPECT_EQ(model.root().at("normalizer").at("precompiled_charsmap").as_string(), "bWFw");
  EXPECT_EQ(model.root().at("normalizer").at("user_defined_symbols").size(), 1u);
  EXPECT_EQ(model.root().at("added_tokens").size(), 1u);
}

TEST(SourceSentencePieceTest, Bpe) {
  std::string file = piece("<unk>", 0, 2);
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    file += piece(name, 0, 6);
  }
  file += piece("ab", -1) + piece("abc", -2) + piece("bc", -3) + piece("a", -4) + piece("b", -5) +
          piece("c", -6) + field(2, field(3, uint64_t{2}) + field(35, uint64_t{1}));
  const SourceModel model(tokenizer_json_from_sentencepiece(file, "m"));
  EXPECT_EQ(model.ids("abc"), (Ids{258}));
  EXPECT_EQ(model.ids("cbcab"), (Ids{262, 259, 257}));
  EXPECT_EQ(model.ids("az"), (Ids{260, 1 + 'z'}));
}

TEST(SourceSentencePieceTest, BpeMergesWhatIsNoTokenAndTakesUnusedTokensApart) {
  const std::string bpe = field(2, field(3, uint64_t{2}));
  // Neither b nor c is a token. Of equal scores the leftmost merge comes first.
  const SourceModel joined(tokenizer_json_from_sentencepiece(
      piece("<unk>", 0, 2) + piece("bc", -1) + piece("a", -5) + piece("ab", -1) + piece("#", 0, 4) + bpe,
      "m"));
  EXPECT_EQ(joined.ids("bc"), (Ids{1}));
  EXPECT_EQ(joined.ids("abc"), (Ids{3, 0}));
  EXPECT_EQ(joined.ids("b#cc"), (Ids{0, 4, 0}));
  const SourceModel unused(tokenizer_json_from_sentencepiece(
      piece("<unk>", 0, 2) + piece("a", -3) + piece("ab", -1, 5) + piece("abc", -2) + piece("b", -4) + bpe,
      "m"));
  EXPECT_EQ(unused.ids("abab"), (Ids{1, 4, 1, 4}));
  EXPECT_EQ(unused.ids("abc"), (Ids{3}));
}

TEST(SourceSentencePieceTest, RefusesMalformedFiles) {
  const auto kind = [](const std::string& file) {
    return kind_of([&] { tokenizer_json_from_sentencepiece(file, "m"); });
  };
  const std::string unk = piece("<unk>", 0, 2);
  EXPECT_EQ(kind(""), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unk + unk), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unk + piece("", 0)), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unk + piece("\xFF", 0)), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unk + piece("a", std::nanf(""))), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unk + piece("a", std::numeric_limits<float>::infinity())), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unk + piece("a", 0, 9)), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unk + piece(std::string(513, 'a'), 0)), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unk + field(1, uint64_t{3})), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(unk + "\x0A\x7F"), ErrorKind::kCorruptFile);                        // longer than the file
  EXPECT_EQ(kind(unk + "\x0A" + std::string(10, '\xFF')), ErrorKind::kCorruptFile);  // no end of the number
  EXPECT_EQ(kind(unk + "\x0B"), ErrorKind::kCorruptFile);                            // a group
  EXPECT_EQ(kind(unk + field(2, field(3, uint64_t{4}))), ErrorKind::kUnsupported);
  EXPECT_EQ(kind(unk + field(5, field(2, std::string("map")))), ErrorKind::kUnsupported);
  EXPECT_EQ(kind(unk + field(2, field(44, std::string("\xFF")))), ErrorKind::kCorruptFile);
}

template <typename Number>
std::string raw(Number value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}
std::string gguf_text(const std::string& text) { return raw(uint64_t{text.size()}) + text; }
std::string gguf_key(const std::string& key, const std::string& text) {
  return gguf_text(key) + raw(uint32_t{8}) + gguf_text(text);
}
std::string gguf_key(const std::string& key, const std::vector<std::string>& texts) {
  std::string bytes = gguf_text(key) + raw(uint32_t{9}) + raw(uint32_t{8}) + raw(uint64_t{texts.size()});
  for (const std::string& text : texts) bytes += gguf_text(text);
  return bytes;
}
template <typename Number>
std::string gguf_key(const std::string& key, uint32_t type, const std::vector<Number>& numbers) {
  std::string bytes = gguf_text(key) + raw(uint32_t{9}) + raw(type) + raw(uint64_t{numbers.size()});
  for (const Number number : numbers) bytes += raw(number);
  return bytes;
}
std::string gguf(const std::vector<std::string>& keys, uint32_t version = 3) {
  std::string bytes = "GGUF" + raw(version) + raw(uint64_t{0}) + raw(uint64_t{keys.size()});
  for (const std::string& key : keys) bytes += key;
  return bytes;
}

using Texts = std::vector<std::string>;

TEST(SourceGgufTest, ByteLevelBpe) {
  const Texts tokens = {"a", "b", "ab", "<|begin|>"};
  const auto file = [&](const std::string& pre) {
    return gguf({gguf_key("general.name", "x"), gguf_key("tokenizer.ggml.model", "gpt2"),
                 gguf_key("tokenizer.ggml.pre", pre), gguf_key("tokenizer.ggml.tokens", tokens),
                 gguf_key("tokenizer.ggml.merges", Texts{"a b"}),
                 gguf_key<int32_t>("tokenizer.ggml.token_type", 5, {1, 1, 1, 3}),
                 gguf_text("tokenizer.ggml.bos_token_id") + raw(uint32_t{4}) + raw(uint32_t{3})});
  };
  const SourceModel model(tokenizer_json_from_gguf(file("llama-bpe"), "g"), true);
  EXPECT_EQ(model.ids("bab"), (Ids{1, 2}));
  EXPECT_EQ(model.root().at("added_tokens").size(), 1u);
  EXPECT_EQ(model.root().at("post_processor").at("type").as_string(), "TemplateProcessing");
  EXPECT_TRUE(model.root().at("model").at("ignore_merges").as_bool());
  for (const char* pre : {"default", "gpt-2", "qwen2", "smollm", "deepseek-v3"}) {
    const SourceModel other(tokenizer_json_from_gguf(file(pre), "g"), true);
    EXPECT_TRUE(other.root().at("post_processor").is_null());
    EXPECT_TRUE(other.root().at("pre_tokenizer").is_object());
  }
  EXPECT_EQ(kind_of([&] { tokenizer_json_from_gguf(file("mystery"), "g"); }), ErrorKind::kUnsupported);
}

TEST(SourceGgufTest, SentencePieceAndWordPiece) {
  const SourceModel pieces(
      tokenizer_json_from_gguf(gguf({gguf_key("tokenizer.ggml.model", "llama"),
                                     gguf_key("tokenizer.ggml.tokens", Texts{"<unk>", "ab", "a", "b"}),
                                     gguf_key<float>("tokenizer.ggml.scores", 6, {0, -1, -2, -3}),
                                     gguf_key<int32_t>("tokenizer.ggml.token_type", 5, {2, 1, 1, 1})},
                                    2),
                               "g"));
  EXPECT_EQ(pieces.ids("abb"), (Ids{1, 3}));
  const SourceModel words(
      tokenizer_json_from_gguf(gguf({gguf_key("tokenizer.ggml.model", "bert"),
                                     gguf_key("tokenizer.ggml.tokens", Texts{"[UNK]", kSpace + "un", "do"})}),
                               "g"));
  EXPECT_EQ(words.ids("undo"), (Ids{1, 2}));
}

TEST(SourceGgufTest, RefusesMalformedFiles) {
  const auto kind = [](const std::string& file) {
    return kind_of([&] { tokenizer_json_from_gguf(file, "g"); });
  };
  const std::string model = gguf_key("tokenizer.ggml.model", "gpt2");
  const std::string tokens = gguf_key("tokenizer.ggml.tokens", Texts{"a"});
  const std::string merges = gguf_key("tokenizer.ggml.merges", Texts{});
  const std::string whole = gguf({model, tokens, merges, gguf_key("tokenizer.ggml.pre", "gpt-2")});
  EXPECT_NO_THROW(tokenizer_json_from_gguf(whole, "g"));
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(kind(whole.substr(0, size)), ErrorKind::kCorruptFile) << size;
  EXPECT_EQ(kind(gguf({model, tokens, merges}, 1)), ErrorKind::kUnsupported);
  EXPECT_EQ(kind(gguf({tokens, merges})), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(gguf({model, merges})), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(gguf({model, tokens})), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(gguf({model, model, tokens, merges})), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(gguf({gguf_key("tokenizer.ggml.model", "t5"), tokens})), ErrorKind::kUnsupported);
  EXPECT_EQ(kind(gguf({model, gguf_key("tokenizer.ggml.tokens", Texts{"\xFF"}), merges})),
            ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(gguf({model, gguf_key("tokenizer.ggml.tokens", "a"), merges})), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(gguf({model, tokens, gguf_key("tokenizer.ggml.merges", Texts{"a"})})),
            ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(gguf({model, tokens, merges, gguf_key<int32_t>("tokenizer.ggml.token_type", 5, {1, 1})})),
            ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(gguf({model, tokens, merges, gguf_key<int32_t>("tokenizer.ggml.token_type", 5, {0})})),
            ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(gguf({gguf_text("x") + raw(uint32_t{99})})), ErrorKind::kCorruptFile);
  EXPECT_EQ(kind(gguf({gguf_text("x") + raw(uint32_t{9}) + raw(uint32_t{5}) + raw(~uint64_t{0})})),
            ErrorKind::kCorruptFile);
  std::string nested = gguf_text("x") + raw(uint32_t{9});
  for (int depth = 0; depth < 100; ++depth) nested += raw(uint32_t{9}) + raw(uint64_t{1});
  EXPECT_EQ(kind(gguf({nested + std::string(64, '\0')})), ErrorKind::kCorruptFile);
}

}  // namespace
}  // namespace headrace
