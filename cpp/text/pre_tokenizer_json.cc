#include "text/pre_tokenizer_json.h"

#include "base/error.h"
#include "base/utf8.h"
#include "text/pre_tokenize_bytes.h"
#include "text/pre_tokenize_characters.h"
#include "text/pre_tokenize_metaspace.h"
#include "text/pre_tokenize_pattern.h"

namespace headrace {
namespace {

class SequenceSplitter : public PreTokenizer {
 public:
  explicit SequenceSplitter(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {}

  void split(AlignedText& text, std::vector<Piece>& pieces) const override {
    for (const auto& step : steps_) step->split(text, pieces);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

std::optional<JsonValue> find_value(JsonValue object, std::string_view key) {
  auto value = object.find(key);
  if (value && value->is_null()) return std::nullopt;
  return value;
}

std::string one_character(JsonValue value) {
  const std::string_view text = value.as_string();
  if (text.empty() || utf8_sequence_length(text, 0) != text.size())
    value.fail(concat("'", text, "' must be one character"));
  return std::string(text);
}

SplitBehavior read_behavior(JsonValue value) {
  const std::string_view name = value.as_string();
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  value.fail(concat("behavior '", name,
                    "' must be Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous"));
}

std::unique_ptr<PreTokenizer> read_split(JsonValue value) {
  const JsonValue pattern = value.at("pattern");
  if (!pattern.is_object() || pattern.size() != 1)
    pattern.fail("pattern must be an object with one member, String or Regex");
  const auto literal = pattern.find("String");
  const std::string source =
      literal ? escape_regex(literal->as_string()) : std::string(pattern.at("Regex").as_string());
  return std::make_unique<PatternSplitter>(Regex(source), read_behavior(value.at("behavior")),
                                           value.at("invert").as_bool());
}

// The regular expression of a step that isolates its matches; nothing for other steps.
std::optional<std::string_view> isolated_pattern(JsonValue step) {
  const auto type = step.find("type");
  if (!type || !type->is_string() || type->as_string() != "Split") return std::nullopt;
  const auto regex = step.at("pattern").find("Regex");
  if (!regex || step.at("behavior").as_string() != "Isolated" || step.at("invert").as_bool())
    return std::nullopt;
  return regex->as_string();
}

// The next three steps as one, if that is known.
std::unique_ptr<PreTokenizer> read_joint(std::span<const JsonValue> steps) {
  if (steps.size() < 3) return nullptr;
  const auto first = isolated_pattern(steps[0]);
  const auto second = first ? isolated_pattern(steps[1]) : std::nullopt;
  const auto third = second ? isolated_pattern(steps[2]) : std::nullopt;
  if (!third) return nullptr;
  const KnownPattern known = joint_pattern(*first, *second, *third);
  if (known == KnownPattern::kNone) return nullptr;
  return std::make_unique<JointSplitter>(known, std::array{Regex(*first), Regex(*second), Regex(*third)});
}

// Old files say add_prefix_space instead of prepend_scheme; the two must not contradict each other.
std::unique_ptr<PreTokenizer> read_metaspace(JsonValue value) {
  using Prepend = MetaspaceSplitter::Prepend;
  Prepend prepend = Prepend::kAlways;
  if (const auto scheme = value.find("prepend_scheme")) {
    const std::string_view name = scheme->as_string();
    if (name != "always" && name != "never" && name != "first")
      scheme->fail(concat("prepend_scheme '", name, "' must be always, never or first"));
    prepend = name == "always" ? Prepend::kAlways : name == "never" ? Prepend::kNever : Prepend::kFirst;
  }
  if (const auto old = find_value(value, "add_prefix_space");
      old && !old->as_bool() && prepend != Prepend::kNever)
    value.fail("add_prefix_space is false, so prepend_scheme must be never");
  const auto splits = find_value(value, "split");
  return std::make_unique<MetaspaceSplitter>(one_character(value.at("replacement")), prepend,
                                             splits ? splits->as_bool() : true);
}

std::unique_ptr<PreTokenizer> read_byte_level(JsonValue value, bool keep_bytes) {
  ByteLevelSplitter::Config config;
  config.add_prefix_space = value.at("add_prefix_space").as_bool();
  value.at("trim_offsets").as_bool();  // concerns the post-processor of the same name
  const auto use_regex = value.find("use_regex");
  config.use_regex = use_regex ? use_regex->as_bool() : true;
  config.keep_bytes = keep_bytes;
  return std::make_unique<ByteLevelSplitter>(config);
}

std::unique_ptr<PreTokenizer> read_step(JsonValue value, bool keep_bytes, bool* raw_bytes) {
  const std::string_view type = value.at("type").as_string();
  if (type == "ByteLevel") {
    *raw_bytes = keep_bytes;
    return read_byte_level(value, keep_bytes);
  }
  if (type == "Split") return read_split(value);
  if (type == "Metaspace") return read_metaspace(value);
  if (type == "BertPreTokenizer") return std::make_unique<BertSplitter>();
  if (type == "Whitespace") return std::make_unique<WhitespaceSplitter>();
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceOnlySplitter>();
  if (type == "UnicodeScripts") return std::make_unique<ScriptSplitter>();
  if (type == "Digits") return std::make_unique<DigitSplitter>(value.at("individual_digits").as_bool());
  if (type == "Punctuation") {
    const auto behavior = value.find("behavior");
    return std::make_unique<PunctuationSplitter>(behavior ? read_behavior(*behavior)
                                                          : SplitBehavior::kIsolated);
  }
  if (type == "CharDelimiterSplit") {
    const std::string delimiter = one_character(value.at("delimiter"));
    return std::make_unique<CharDelimiterSplitter>(utf8_decode(delimiter.data(), delimiter.size()));
  }
  if (type == "FixedLength") {
    const auto length = value.find("length");
    return std::make_unique<FixedLengthSplitter>(
        static_cast<size_t>(length ? length->as_int(1, int64_t{1} << 31) : 5));
  }
  if (type == "Sequence") {
    std::vector<std::unique_ptr<PreTokenizer>> steps;
    const JsonValue items = value.at("pretokenizers");
    std::vector<JsonValue> left;
    for (const JsonValue item : items.items()) left.push_back(item);
    for (size_t i = 0; i < left.size();) {
      bool is_raw = false;
      if (auto joint = read_joint(std::span(left).subspan(i))) {
        steps.push_back(std::move(joint));
        i += 3;
      } else {
        steps.push_back(read_step(left[i], keep_bytes && i + 1 == left.size(), &is_raw));
        ++i;
      }
      *raw_bytes = is_raw;
    }
    return std::make_unique<SequenceSplitter>(std::move(steps));
  }
  throw Error(
      ErrorKind::kUnsupported,
      concat("pre_tokenizer '", type,
             "' is not supported; supported: BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, "
             "FixedLength, Metaspace, Punctuation, Sequence, Split, UnicodeScripts, Whitespace, "
             "WhitespaceSplit, null; use a model whose tokenizer.json has one of these"));
}

}  // namespace

std::unique_ptr<PreTokenizer> read_pre_tokenizer(std::optional<JsonValue> value, bool model_takes_raw_bytes,
                                                 bool* raw_bytes) {
  *raw_bytes = false;
  if (!value || value->is_null()) return nullptr;
  return read_step(*value, model_takes_raw_bytes, raw_bytes);
}

}  // namespace headrace
