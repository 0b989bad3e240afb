// Small tokenizers of every family, for tests and for the fuzz target that encodes.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/base64.h"
#include "text/json_writer.h"
#include "text/scored_pieces.h"
#include "text/source_patterns.h"
#include "text/source_tiktoken.h"
#include "text/tokenizer.h"

namespace headrace {

struct Family {
  std::string name;
  std::unique_ptr<const Tokenizer> tokenizer;
};

// Text that the small vocabularies below have tokens for.
inline const std::vector<std::string>& family_words() {
  static const std::vector<std::string> kWords = {"th",
                                                  "the",
                                                  " th",
                                                  " the",
                                                  "in",
                                                  "ing",
                                                  "He",
                                                  "ll",
                                                  "Hell",
                                                  "'s",
                                                  " '",
                                                  "12",
                                                  "123",
                                                  "  ",
                                                  "    ",
                                                  "\n\n",
                                                  "ab",
                                                  "abab",
                                                  "ba",
                                                  "bab",
                                                  "a b",
                                                  "##",
                                                  "\r\n",
                                                  "\xC3\xA9",
                                                  "\xCC\x81",
                                                  "\xE4\xB8\xAD",
                                                  "\xE4\xB8\xAD\xE6\x96\x87",
                                                  "\xF0\x9F\x98\x80",
                                                  "\xE2\x96\x81"};
  return kWords;
}

namespace families {

inline std::string added_tokens() {
  const auto token = [](int id, const char* content, const char* flags) {
    return concat("{\"id\":", id, ",\"content\":\"", content, "\",", flags, "}");
  };
  constexpr char kPlain[] =
      R"("single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true)";
  constexpr char kLeft[] =
      R"("single_word":false,"lstrip":true,"rstrip":false,"normalized":false,"special":false)";
  constexpr char kWord[] =
      R"("single_word":true,"lstrip":true,"rstrip":true,"normalized":true,"special":false)";
  return concat(token(0, "<unk>", kPlain), ",", token(0, "[SEP]", kPlain), ",", token(0, "<s>", kLeft), ",",
                token(0, "Ab", kWord));
}

struct Parts {
  std::string normalizer = "null";
  std::string pre_tokenizer = "null";
  std::string decoder = "null";
  std::string model;

  std::unique_ptr<const Tokenizer> make() const {
    TokenizerJson json{added_tokens(), normalizer, pre_tokenizer, "null", decoder, model};
    json.post_processor =
        R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}},
           {"SpecialToken":{"id":"<unk>","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},
           {"Sequence":{"id":"B","type_id":1}}],"special_tokens":{"<unk>":{"id":"<unk>","ids":[0],
           "tokens":["<unk>"]}}})";
    return Tokenizer::from_json(json.text(), "family");
  }
};

// All bytes and the words above as ranks, split by one of the known patterns.
inline std::unique_ptr<const Tokenizer> ranks(std::string_view pattern) {
  std::string file;
  int rank = 0;
  const auto add = [&](std::string_view token) { file += concat(base64_encode(token), " ", rank++, "\n"); };
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    add({&c, 1});
  }
  for (const std::string& word : family_words())
    if (word.size() > 1) add(word);
  const TiktokenEncoding encoding{byte_level_pre_tokenizer(pattern), {{"[SEP]", rank}, {"<unk>", rank + 1}}};
  return Tokenizer::from_json(tokenizer_json_from_tiktoken(file, encoding, "family"), "family");
}

// Half of the bytes are missing; letters merge.
inline std::string bpe_model(const char* settings) {
  std::string vocab = "\"<unk>\":0";
  int id = 1;
  for (char c = 'a'; c <= 'z'; ++c, ++id) vocab += concat(",\"", c, "\":", id);
  for (const char* token :
       {"th", "the", "in", "ab", "abab", "\xC4\xA0", "\xC4\xA0t", "\xC3\x84", "\xE2\x96\x81", "\xE2\x96\x81t",
        "b</w>", "ab</w>", "<0x41>", "<0xC3>", "<0xA9>", "1"})
    vocab += concat(",\"", token, "\":", id++);
  return concat("{\"type\":\"BPE\",", settings, ",\"vocab\":{", vocab,
                "},\"merges\":[[\"t\",\"h\"],[\"th\",\"e\"],[\"i\",\"n\"],[\"a\",\"b\"],[\"ab\",\"ab\"],"
                "[\"\xC4\xA0\",\"t\"],[\"\xE2\x96\x81\",\"t\"],[\"a\",\"b</w>\"]]}");
}

// [token, score] or, with_types, [token, score, type] as SentencePiece numbers them.
inline std::string scored(bool with_types) {
  std::string items;
  JsonList list(items);
  const auto add = [&](std::string_view token, double score, int type) {
    list.next() += concat("[", json_string(token), ",", json_number(score));
    if (with_types) items += concat(",", type);
    items += "]";
  };
  add("<unk>", 0, ScoredPiece::kUnknown);
  for (int byte = 0; byte < 256; ++byte) {
    constexpr char kHex[] = "0123456789ABCDEF";
    add(concat("<0x", kHex[byte >> 4], kHex[byte & 15], ">"), 0, ScoredPiece::kByte);
  }
  double score = -1;
  for (const std::string& word : family_words()) add(word, score -= 0.37, ScoredPiece::kNormal);
  for (char c = 'a'; c <= 'z'; ++c) add(std::string(1, c), score -= 0.1, ScoredPiece::kNormal);
  add("\xE2\x96\x81the", -1.5, ScoredPiece::kNormal);
  add("<x>", 0, ScoredPiece::kUserDefined);
  add("hing", -2, ScoredPiece::kUnused);
  return items;
}

inline std::unique_ptr<const Tokenizer> sentencepiece(const char* algorithm, bool byte_fallback) {
  Parts parts;
  const char* const flag = byte_fallback ? "true" : "false";
  parts.normalizer = concat(
      R"({"type":"SentencePiece","add_dummy_prefix":true,"remove_extra_whitespaces":)", flag,
      R"(,"escape_whitespaces":true,"treat_whitespace_as_suffix":false,"user_defined_symbols":["<x>"],)"
      R"("precompiled_charsmap":""})");
  parts.decoder =
      concat(R"({"type":"SentencePiece","unk_token":"<unk>","unk_surface":" ? ","byte_fallback":)", flag,
             R"(,"add_dummy_prefix":true,"remove_extra_whitespaces":)", flag, "}");
  parts.model = concat(R"({"type":"SentencePiece","algorithm":")", algorithm, R"(","byte_fallback":)", flag,
                       ",\"vocab\":[", scored(true), "]}");
  return parts.make();
}

inline std::unique_ptr<const Tokenizer> unigram(bool byte_fallback) {
  Parts parts;
  parts.normalizer =
      R"({"type":"Sequence","normalizers":[{"type":"Nmt"},{"type":"NFKC"},
         {"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}]})";
  parts.pre_tokenizer =
      R"({"type":"Metaspace","replacement":"\u2581","prepend_scheme":"first","split":true})";
  parts.decoder = R"({"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Metaspace",
      "replacement":"\u2581","prepend_scheme":"always"}]})";
  parts.model = concat(R"({"type":"Unigram","unk_id":0,"byte_fallback":)", byte_fallback ? "true" : "false",
                       ",\"vocab\":[", scored(false), "]}");
  return parts.make();
}

inline std::unique_ptr<const Tokenizer> bpe(std::string normalizer, std::string pre_tokenizer,
                                            std::string decoder, const char* settings) {
  return Parts{std::move(normalizer), std::move(pre_tokenizer), std::move(decoder), bpe_model(settings)}
      .make();
}

inline std::string words(const char* prefix) {
  std::string vocab = "\"<unk>\":0";
  int id = 1;
  const auto add = [&](const std::string& token) { vocab += concat(",", json_string(token), ":", id++); };
  for (const std::string& word : family_words()) add(word);
  for (char c = 'a'; c <= 'z'; ++c) add(std::string(1, c));
  if (prefix[0] == '\0') return vocab;
  for (const std::string& word : family_words()) add(prefix + word);
  for (char c = 'a'; c <= 'h'; ++c) add(prefix + std::string(1, c));
  return vocab;
}

inline std::unique_ptr<const Tokenizer> word_piece(bool is_bert) {
  Parts parts;
  parts.normalizer = is_bert ? R"({"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,
                                   "strip_accents":null,"lowercase":true})"
                             : R"({"type":"Sequence","normalizers":[{"type":"NFKD"},
                                   {"type":"Strip","strip_left":true,"strip_right":true}]})";
  parts.pre_tokenizer = is_bert ? R"({"type":"BertPreTokenizer"})"
                                : R"({"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},
                                      {"type":"Punctuation","behavior":"Isolated"},{"type":"UnicodeScripts"}]})";
  parts.decoder = R"({"type":"WordPiece","prefix":"##","cleanup":true})";
  parts.model = concat(R"({"type":"WordPiece","unk_token":"<unk>","continuing_subword_prefix":"##",)"
                       R"("max_input_chars_per_word":30,"vocab":{)",
                       words("##x"), "}}");
  return parts.make();
}

inline std::unique_ptr<const Tokenizer> word_level() {
  Parts parts;
  parts.normalizer = R"({"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"Lowercase"},
                         {"type":"StripAccents"}]})";
  parts.pre_tokenizer = R"({"type":"Sequence","pretokenizers":[{"type":"Whitespace"},
                            {"type":"Digits","individual_digits":true}]})";
  parts.model = concat(R"({"type":"WordLevel","unk_token":"<unk>","vocab":{)", words(""), "}}");
  return parts.make();
}

}  // namespace families

inline std::vector<Family> make_families() {
  using namespace families;
  std::vector<Family> made;
  for (const char* pattern : {"gpt2", "cl100k", "o200k", "qwen2", "smollm", "deepseek_v3", "llama_default"})
    made.push_back({concat("ranks, ", pattern), ranks(pattern)});
  constexpr char kByteLevel[] =
      R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})";
  constexpr char kSpaces[] = R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"\u2581"},
      {"type":"Replace","pattern":{"String":" "},"content":"\u2581"}]})";
  constexpr char kFallback[] =
      R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"\u2581"},
      "content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]})";
  made.push_back({"byte-level BPE, bytes missing",
                  bpe("null", kByteLevel, kByteLevel, R"("unk_token":null,"ignore_merges":false)")});
  made.push_back({"BPE, byte fallback", bpe(kSpaces, "null", kFallback,
                                            R"("unk_token":"<unk>","byte_fallback":true,"fuse_unk":true)")});
  made.push_back({"BPE, suffix", bpe(R"({"type":"Lowercase"})", R"({"type":"Whitespace"})",
                                     R"({"type":"BPEDecoder","suffix":"</w>"})",
                                     R"("unk_token":"<unk>","end_of_word_suffix":"</w>")")});
  made.push_back({"Unigram", unigram(false)});
  made.push_back({"Unigram, byte fallback", unigram(true)});
  made.push_back({"SentencePiece unigram", sentencepiece("unigram", false)});
  made.push_back({"SentencePiece unigram, byte fallback", sentencepiece("unigram", true)});
  made.push_back({"SentencePiece BPE", sentencepiece("bpe", false)});
  made.push_back({"SentencePiece BPE, byte fallback", sentencepiece("bpe", true)});
  made.push_back({"WordLevel", word_level()});
  made.push_back({"WordPiece, BERT", word_piece(true)});
  made.push_back({"WordPiece", word_piece(false)});
  return made;
}

}  // namespace headrace
