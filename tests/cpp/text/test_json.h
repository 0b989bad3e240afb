// A small tokenizer.json whose parts a test can exchange.
#pragma once

#include <memory>
#include <string>

#include "text/tokenizer.h"

namespace headrace {

struct TestJson {
  std::string version = "1.0";
  std::string added;  // besides [CLS] and [SEP]
  std::string normalizer = R"({"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,
                               "strip_accents":null,"lowercase":true})";
  std::string pre_tokenizer = R"({"type":"BertPreTokenizer"})";
  std::string post_processor = R"({"type":"TemplateProcessing","single":[
      {"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},
      {"SpecialToken":{"id":"[SEP]","type_id":1}}],"pair":[],"special_tokens":{
      "[CLS]":{"id":"[CLS]","ids":[2],"tokens":["[CLS]"]},"[SEP]":{"id":"[SEP]","ids":[3],"tokens":["[SEP]"]}}})";
  std::string decoder = R"({"type":"WordPiece","prefix":"##","cleanup":true})";
  std::string model_type = R"("type":"WordPiece",)";
  std::string vocab =
      R"("[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"!":4,"hello":5,"##s":6,"un":7,"##happy":8,",":9,
                         "\u4e2d":10)";

  std::string text() const {
    const auto special = [](const char* content) {
      return std::string(R"({"id":0,"content":")") + content +
             R"(","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true})";
    };
    return R"({"version":")" + version +
           R"(","truncation":{"max_length":2},"padding":null,"added_tokens":[)" + special("[CLS]") + "," +
           special("[SEP]") + (added.empty() ? "" : ",") + added + R"(],"normalizer":)" + normalizer +
           R"(,"pre_tokenizer":)" + pre_tokenizer + R"(,"post_processor":)" + post_processor +
           R"(,"decoder":)" + decoder + R"(,"model":{)" + model_type +
           R"("unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{)" +
           vocab + "}}}";
  }

  std::unique_ptr<Tokenizer> make() const { return Tokenizer::from_json(text(), "test.json"); }
};

}  // namespace headrace
