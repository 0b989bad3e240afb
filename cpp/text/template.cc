#include "text/template.h"

#include <limits>

#include "base/error.h"

namespace headrace {
namespace {

int32_t checked_id(JsonValue id, JsonValue token, const Vocabulary& vocabulary) {
  const auto value = static_cast<int32_t>(id.as_int(0, Vocabulary::kMaxId));
  if (vocabulary.id(token.as_string()) != value)
    id.fail(concat("post_processor: the token '", token.as_string(), "' with id ", value,
                   " is not in the vocabulary"));
  return value;
}

int32_t read_type_id(JsonValue piece) {
  return static_cast<int32_t>(piece.at("type_id").as_int(0, std::numeric_limits<int32_t>::max()));
}

TokenTemplate read_template_processing(JsonValue processor, const Vocabulary& vocabulary) {
  TokenTemplate result;
  int num_texts = 0;
  for (JsonValue piece : processor.at("single").items()) {
    if (const auto sequence = piece.find("Sequence")) {
      ++num_texts;
      if (sequence->at("id").as_string() != "A") num_texts = 2;
      result.type_id = read_type_id(*sequence);
      continue;
    }
    const JsonValue special = piece.at("SpecialToken");
    const std::string_view name = special.at("id").as_string();
    const auto definition = processor.at("special_tokens").find(name);
    if (!definition) special.fail(concat("post_processor: the special token '", name, "' is not defined"));
    const JsonValue ids = definition->at("ids");
    const JsonValue tokens = definition->at("tokens");
    if (!ids.is_array() || !tokens.is_array() || ids.size() != tokens.size())
      ids.fail("post_processor: ids and tokens of a special token must be arrays of the same length");
    auto token = tokens.items().begin();
    for (JsonValue id : ids.items()) {
      auto& side = num_texts == 0 ? result.before : result.behind;
      side.push_back({checked_id(id, *token, vocabulary), read_type_id(special)});
      ++token;
    }
  }
  if (num_texts != 1)
    throw Error(
        ErrorKind::kUnsupported,
        "post_processor 'TemplateProcessing': the template 'single' must hold sequence A exactly once");
  return result;
}

TokenTemplate read_bert_processing(JsonValue processor, const Vocabulary& vocabulary) {
  const auto read_pair = [&](const char* key) {
    const JsonValue pair = processor.at(key);
    if (!pair.is_array() || pair.size() != 2)
      pair.fail(concat("post_processor: ", key, " must be [token, id]"));
    auto item = pair.items().begin();
    const JsonValue token = *item;
    ++item;
    return TokenTemplate::Special{checked_id(*item, token, vocabulary), 0};
  };
  TokenTemplate result;
  result.before.push_back(read_pair("cls"));
  result.behind.push_back(read_pair("sep"));
  return result;
}

}  // namespace

TokenTemplate read_template(JsonValue post_processor, const Vocabulary& vocabulary) {
  if (post_processor.is_null()) return {};
  const std::string_view type = post_processor.at("type").as_string();
  if (type == "TemplateProcessing") return read_template_processing(post_processor, vocabulary);
  if (type == "BertProcessing") return read_bert_processing(post_processor, vocabulary);
  throw Error(ErrorKind::kUnsupported, concat("post_processor '", type,
                                              "' is not supported; supported: TemplateProcessing, "
                                              "BertProcessing, null"));
}

}  // namespace headrace
