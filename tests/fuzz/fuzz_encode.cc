// Encodes arbitrary bytes with small tokenizers of every family: text that is not UTF-8 is refused, and for
// all other text ids, offsets, limits, parts and decoders agree. The first byte chooses the tokenizer, the
// second the options.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/utf8.h"
#include "text/families.h"
#include "text/tokenizer.h"

namespace {

using headrace::EncodeOptions;
using headrace::Encoding;
using headrace::Tokenizer;

// The checks must also hold in a release build, where assert is empty.
void require(bool condition) {
  if (!condition) std::abort();
}

// WordPiece as BERT has it, with added tokens of every kind.
std::string json(bool cased, bool normalized_tokens, bool split) {
  const auto added = [&](const char* content, bool strip, bool single_word, bool normalized, bool special) {
    const auto flag = [](bool value) { return value ? "true" : "false"; };
    return headrace::concat(R"({"content":")", content, R"(","lstrip":)", flag(strip), R"(,"rstrip":)",
                            flag(strip), R"(,"single_word":)", flag(single_word), R"(,"normalized":)",
                            flag(normalized && normalized_tokens), R"(,"special":)", flag(special), "}");
  };
  return headrace::concat(
      R"({"version":"1.0","added_tokens":[)", added("[SEP]", false, false, false, true), ",",
      added("<s>", true, false, false, false), ",", added("Ab", true, true, true, false), ",",
      added(" x", false, false, true, true), R"(],"normalizer":{"type":"BertNormalizer","clean_text":)",
      cased ? "false" : "true", R"(,"handle_chinese_chars":true,"strip_accents":true,"lowercase":)",
      cased ? "false" : "true", R"(},"pre_tokenizer":)", split ? R"({"type":"BertPreTokenizer"})" : "null",
      R"(,"post_processor":{"type":"BertProcessing","sep":["[SEP]",2],"cls":["[CLS]",1]},)",
      R"("decoder":{"type":"WordPiece","prefix":"##","cleanup":true},"model":{"type":"WordPiece",)",
      R"("unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":30,"vocab":{"[UNK]":0,)",
      R"("[CLS]":1,"[SEP]":2,"a":3,"b":4,"##a":5,"##b":6,"abab":7,"##bba":8,"##ababab":9,"e":10,"##e":11,",":12,)",
      R"("\u4e2d":13,"##\u0301":14,"i":15,"A":16,"#":17,"##1":18}}})");
}

const Tokenizer& tokenizer(unsigned which) {
  static const auto tokenizers = [] {
    std::vector<std::unique_ptr<const Tokenizer>> made;
    for (unsigned i = 0; i < 8; ++i)
      made.push_back(Tokenizer::from_json(json((i & 1) != 0, (i & 2) != 0, (i & 4) == 0), "fuzz"));
    for (headrace::Family& family : headrace::make_families()) made.push_back(std::move(family.tokenizer));
    return made;
  }();
  return *tokenizers[which % tokenizers.size()];
}

int64_t count_characters(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  return count;
}

void check_encoding(const Tokenizer& with, std::string_view text, const EncodeOptions& options) {
  std::vector<int32_t> ids;
  const int64_t num_tokens = with.encode_ids(text, options, ids);
  const Encoding encoding = with.encode(text, options);
  require(encoding.ids == ids && encoding.num_tokens == num_tokens);
  require(encoding.offsets.size() == ids.size() && encoding.type_ids.size() == ids.size() &&
          encoding.special_mask.size() == ids.size());
  const auto size = static_cast<int64_t>(ids.size());
  require(size <= num_tokens && with.count(text, options) == num_tokens);
  if (options.max_tokens > 0) require(size == std::min(num_tokens, options.max_tokens));
  const std::string_view twice[] = {text, "a b", text};
  const auto batch = with.encode_batch(twice, options, 1);
  require(batch.cu_lengths.size() == 4 && std::equal(ids.begin(), ids.end(), batch.ids.begin()));
  require(std::equal(ids.rbegin(), ids.rend(), batch.ids.rbegin()));
  const int64_t num_characters = count_characters(text);
  int32_t last_begin = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    require(with.token(ids[i]).data() != nullptr);
    const auto [begin, end] = encoding.offsets[i];
    if (encoding.special_mask[i] || (begin == 0 && end == 0)) {
      require(begin == 0 && end == 0);  // what is not from the text has no place in it
      continue;
    }
    // Ends may go back: a token that took the white space behind it can overlap one that begins with a space.
    require(last_begin <= begin && begin <= end && end <= num_characters);
    last_begin = begin;
  }
  for (const auto& spelling : encoding.spellings) require(spelling.index >= 0 && spelling.index < size);
}

// Any ids decode to text, and in a stream to the same text.
void check_decoding(const Tokenizer& with, const std::vector<int32_t>& ids) {
  for (const bool skip : {false, true}) {
    const std::string decoded = with.decode(ids, skip);
    require(headrace::utf8_first_invalid(decoded) == decoded.size());
    auto stream = with.stream_decoder(skip);
    std::string streamed;
    for (const int32_t id : ids) streamed += stream.push(id);
    require(streamed + stream.finish() == decoded);
  }
}

// What is cut off comes back in parts: together with what was kept they are the whole.
void check_parts(const Tokenizer& with, std::string_view text, const EncodeOptions& given) {
  EncodeOptions options = given;
  options.add_special_tokens = false;
  options.max_tokens = 0;
  const Encoding whole = with.encode(text, options);
  options.max_tokens = 3;
  options.stride = 0;
  const Encoding cut = with.encode(text, options);
  std::vector<const Encoding*> parts = {&cut};
  for (const Encoding& part : cut.overflowing) parts.push_back(&part);
  if (options.direction == headrace::Direction::kLeft) std::reverse(parts.begin(), parts.end());
  std::vector<int32_t> joined;
  for (const Encoding* part : parts) joined.insert(joined.end(), part->ids.begin(), part->ids.end());
  require(joined == whole.ids);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const Tokenizer& with = tokenizer(data[0]);
  EncodeOptions options = {(data[1] & 1) != 0, (data[1] & 2) != 0, (data[1] & 4) != 0 ? 4 : 0};
  if ((data[1] & 8) != 0) options.direction = headrace::Direction::kLeft;
  const std::string_view text(reinterpret_cast<const char*>(data + 2), size - 2);
  if (headrace::utf8_first_invalid(text) == text.size()) {
    check_encoding(with, text, options);
    check_parts(with, text, options);
    std::vector<int32_t> ids;
    with.encode_ids(text, options, ids);
    check_decoding(with, ids);
    ids.clear();
    for (const char c : text) ids.push_back(static_cast<uint8_t>(c) % (with.vocab_size() + 1));
    check_decoding(with, ids);
    return 0;
  }
  try {
    std::vector<int32_t> ids;
    with.encode_ids(text, options, ids);
    require(false);
  } catch (const headrace::Error& error) {
    require(error.kind() == headrace::ErrorKind::kInvalidArgument);
  }
  return 0;
}
