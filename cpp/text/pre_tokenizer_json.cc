#include "text/pre_tokenizer_json.h"

#include "base/error.h"
#include "base/utf8.h"
#include "text/normalizer_json.h"
#include "text/pre_tokenize.h"
#include "text/unicode.h"

namespace headrace {
namespace {

bool is_space(char32_t c) { return char_info(c).has(CharInfo::kSpace); }
bool is_punctuation(char32_t c) { return char_info(c).has(CharInfo::kPunctuation); }

bool flag(JsonValue value, std::string_view key, bool otherwise) {
  const auto found = value.find(key);
  return found ? found->as_bool() : otherwise;
}

SplitBehavior read_behavior(JsonValue value) {
  const std::string_view name = value.as_string();
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  value.fail(concat("pre_tokenizer: the behavior '", name,
                    "' must be Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous"));
}

std::unique_ptr<PreTokenizer> read_metaspace(JsonValue value) {
  const std::string_view replacement = value.at("replacement").as_string();
  if (replacement.empty() || utf8_sequence_length(replacement, 0) != replacement.size())
    value.at("replacement").fail("pre_tokenizer: the replacement of Metaspace must be one character");
  auto prepend = Metaspace::Prepend::kAlways;
  if (const auto scheme = value.find("prepend_scheme")) {
    const std::string_view name = scheme->as_string();
    if (name == "first") {
      prepend = Metaspace::Prepend::kFirst;
    } else if (name == "never") {
      prepend = Metaspace::Prepend::kNever;
    } else if (name != "always") {
      scheme->fail(concat("pre_tokenizer: prepend_scheme '", name, "' must be always, first or never"));
    }
  } else if (!flag(value, "add_prefix_space", true)) {  // how old files say it
    prepend = Metaspace::Prepend::kNever;
  }
  return std::make_unique<Metaspace>(std::string(replacement), prepend, flag(value, "split", true));
}

struct Reader {
  bool model_takes_raw_bytes;
  bool* raw_bytes;

  std::unique_ptr<PreTokenizer> read(JsonValue value, bool is_last) const {
    const std::string_view type = value.at("type").as_string();
    using Behavior = SplitBehavior;
    if (type == "Sequence") return read_sequence(value, is_last);
    if (type == "ByteLevel") {
      const bool raw = is_last && model_takes_raw_bytes;
      if (raw) *raw_bytes = true;
      return std::make_unique<ByteLevel>(value.at("add_prefix_space").as_bool(),
                                         flag(value, "use_regex", true), raw);
    }
    if (type == "Split")
      return std::make_unique<Split>(read_pattern(value.at("pattern")), read_behavior(value.at("behavior")),
                                     value.at("invert").as_bool());
    if (type == "Metaspace") return read_metaspace(value);
    if (type == "Whitespace") return std::make_unique<Words>();
    if (type == "WhitespaceSplit") return std::make_unique<SplitCharacters>(is_space, Behavior::kRemoved);
    if (type == "Digits")
      return std::make_unique<Split>(
          Pattern::regex("\\p{N}"),
          flag(value, "individual_digits", false) ? Behavior::kIsolated : Behavior::kContiguous, false);
    if (type == "Punctuation") {
      const auto behavior = value.find("behavior");
      return std::make_unique<SplitCharacters>(is_punctuation,
                                               behavior ? read_behavior(*behavior) : Behavior::kIsolated);
    }
    if (type == "CharDelimiterSplit")
      return std::make_unique<Split>(Pattern::literal(value.at("delimiter").as_string()), Behavior::kRemoved,
                                     false);
    if (type == "FixedLength") return std::make_unique<FixedLength>(value.at("length").as_int(1, 1 << 30));
    if (type == "BertPreTokenizer") {
      std::vector<std::unique_ptr<PreTokenizer>> steps;
      steps.push_back(std::make_unique<SplitCharacters>(is_space, Behavior::kRemoved));
      steps.push_back(std::make_unique<SplitCharacters>(is_punctuation, Behavior::kIsolated));
      return std::make_unique<PreTokenizerSequence>(std::move(steps));
    }
    throw Error(ErrorKind::kUnsupported,
                concat("pre_tokenizer '", type,
                       "' is not supported; supported: BertPreTokenizer, ByteLevel, CharDelimiterSplit, "
                       "Digits, FixedLength, Metaspace, Punctuation, Sequence, Split, Whitespace, "
                       "WhitespaceSplit, null"));
  }

  std::unique_ptr<PreTokenizer> read_sequence(JsonValue value, bool is_last) const {
    std::vector<std::unique_ptr<PreTokenizer>> steps;
    const JsonValue items = value.at("pretokenizers");
    size_t left = items.size();
    for (const JsonValue item : items.items())
      if (auto step = read(item, is_last && --left == 0)) steps.push_back(std::move(step));
    if (steps.empty()) return nullptr;
    if (steps.size() == 1) return std::move(steps.front());
    return std::make_unique<PreTokenizerSequence>(std::move(steps));
  }
};

}  // namespace

std::unique_ptr<PreTokenizer> read_pre_tokenizer(std::optional<JsonValue> value, bool model_takes_raw_bytes,
                                                 bool* raw_bytes) {
  if (!value || value->is_null()) return nullptr;
  return Reader{model_takes_raw_bytes, raw_bytes}.read(*value, true);
}

}  // namespace headrace
