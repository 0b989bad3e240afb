#include "text/post_processor_json.h"

#include <limits>

#include "base/error.h"

namespace headrace {
namespace {

constexpr int32_t kMostTypes = std::numeric_limits<int32_t>::max();

int32_t read_id(JsonValue id, JsonValue token, const Vocabulary& vocabulary) {
  const auto value = static_cast<int32_t>(id.as_int(0, Vocabulary::kMaxId));
  if (vocabulary.id(token.as_string()) != value)
    id.fail(concat("post_processor: the token '", token.as_string(), "' with id ", value,
                   " is not in the vocabulary"));
  return value;
}

// [token, id]
int32_t read_token(JsonValue pair, const Vocabulary& vocabulary) {
  if (!pair.is_array() || pair.size() != 2) pair.fail("post_processor: a token must be [token, id]");
  auto item = pair.items().begin();
  const JsonValue token = *item;
  ++item;
  return read_id(*item, token, vocabulary);
}

std::vector<int32_t> read_special(JsonValue special, JsonValue definitions, const Vocabulary& vocabulary) {
  const std::string_view name = special.at("id").as_string();
  const auto definition = definitions.find(name);
  if (!definition) special.fail(concat("post_processor: the special token '", name, "' is not defined"));
  const JsonValue ids = definition->at("ids");
  const JsonValue tokens = definition->at("tokens");
  if (!ids.is_array() || !tokens.is_array() || ids.size() != tokens.size())
    ids.fail("post_processor: ids and tokens of a special token must be arrays of the same length");
  std::vector<int32_t> result;
  auto token = tokens.items().begin();
  for (const JsonValue id : ids.items()) {
    result.push_back(read_id(id, *token, vocabulary));
    ++token;
  }
  return result;
}

std::vector<TemplateProcessor::Step> read_steps(JsonValue pieces, bool is_pair, JsonValue definitions,
                                                const Vocabulary& vocabulary) {
  std::vector<TemplateProcessor::Step> steps;
  for (const JsonValue piece : pieces.items()) {
    const auto read_type = [](JsonValue value) {
      return static_cast<int32_t>(value.at("type_id").as_int(0, kMostTypes));
    };
    if (const auto sequence = piece.find("Sequence")) {
      const std::string_view id = sequence->at("id").as_string();
      if (id != "A" && (id != "B" || !is_pair))
        sequence->fail(concat("post_processor: the sequence '", id, "' must be A, or B in a pair"));
      steps.push_back({id == "A" ? 0 : 1, read_type(*sequence), {}});
      continue;
    }
    const JsonValue special = piece.at("SpecialToken");
    steps.push_back({-1, read_type(special), read_special(special, definitions, vocabulary)});
  }
  return steps;
}

std::unique_ptr<PostProcessor> read_template_processor(JsonValue value, const Vocabulary& vocabulary) {
  const JsonValue definitions = value.at("special_tokens");
  return std::make_unique<TemplateProcessor>(read_steps(value.at("single"), false, definitions, vocabulary),
                                             read_steps(value.at("pair"), true, definitions, vocabulary));
}

std::unique_ptr<PostProcessor> read_sequence(JsonValue value, const Vocabulary& vocabulary) {
  std::vector<std::unique_ptr<PostProcessor>> steps;
  for (const JsonValue item : value.at("processors").items())
    if (auto step = read_post_processor(item, vocabulary)) steps.push_back(std::move(step));
  return std::make_unique<ProcessorSequence>(std::move(steps));
}

}  // namespace

// A JsonDocument is at most 64 deep, which bounds the recursion through sequences.
std::unique_ptr<PostProcessor> read_post_processor(std::optional<JsonValue> value,
                                                   const Vocabulary& vocabulary) {
  if (!value || value->is_null()) return nullptr;
  const std::string_view type = value->at("type").as_string();
  if (type == "TemplateProcessing") return read_template_processor(*value, vocabulary);
  if (type == "Sequence") return read_sequence(*value, vocabulary);
  if (type == "ByteLevel")
    return std::make_unique<TrimOffsets>(value->at("trim_offsets").as_bool(),
                                         value->at("add_prefix_space").as_bool());
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    const bool is_roberta = type == "RobertaProcessing";
    return std::make_unique<ClassifierTokens>(
        is_roberta ? ClassifierTokens::Style::kRoberta : ClassifierTokens::Style::kBert,
        read_token(value->at("cls"), vocabulary), read_token(value->at("sep"), vocabulary),
        is_roberta && value->at("trim_offsets").as_bool(),
        is_roberta && value->at("add_prefix_space").as_bool());
  }
  throw Error(ErrorKind::kUnsupported,
              concat("post_processor '", type,
                     "' is not supported; supported: BertProcessing, ByteLevel, RobertaProcessing, Sequence, "
                     "TemplateProcessing, null"));
}

}  // namespace headrace
