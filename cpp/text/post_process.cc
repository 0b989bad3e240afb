#include "text/post_process.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "text/ascii_run.h"
#include "text/byte_spelling.h"
#include "text/unicode.h"

namespace headrace {
namespace {

// White space, or how GPT-2's alphabet spells a space.
bool is_blank(char32_t c) { return char_info(c).has(CharInfo::kSpace) || c == byte_spelling(' '); }

struct Blanks {
  int32_t leading = 0;
  int32_t trailing = 0;
};

Blanks count_blanks(std::string_view token) {
  Blanks blanks;
  int32_t num_characters = 0;
  for (size_t at = 0; at < token.size(); ++num_characters) {
    const size_t length = utf8_length(token[at]);
    if (is_blank(utf8_decode(token.data() + at, length))) {
      if (blanks.leading == num_characters) ++blanks.leading;
      ++blanks.trailing;
    } else {
      blanks.trailing = 0;
    }
    at += length;
  }
  return blanks;
}

void trim(Encoding& encoding, bool adds_prefix_space, const Vocabulary& vocabulary) {
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    auto& [begin, end] = encoding.offsets[i];
    auto [leading, trailing] = count_blanks(token_string(encoding, i, vocabulary));
    // One space at the beginning may be the one that was added, and has no place in the text.
    if (leading == 1 && adds_prefix_space && (i == 0 || begin == 0)) leading = 0;
    begin = std::min(begin + leading, std::max(end, begin));
    if (trailing > 0 && end >= trailing) end = std::max(end - trailing, begin);
  }
}

Encoding special_tokens(const std::vector<int32_t>& ids, int32_t type_id) {
  Encoding result;
  result.ids = ids;
  result.type_ids.assign(ids.size(), type_id);
  result.sequence_ids.assign(ids.size(), -1);
  result.offsets.assign(ids.size(), {0, 0});
  result.special_mask.assign(ids.size(), 1);
  result.num_tokens = static_cast<int64_t>(ids.size());
  return result;
}

}  // namespace

std::string_view token_string(const Encoding& encoding, size_t index, const Vocabulary& vocabulary) {
  const auto before = [](const Encoding::Spelling& spelling, size_t i) {
    return static_cast<size_t>(spelling.index) < i;
  };
  const auto found = std::lower_bound(encoding.spellings.begin(), encoding.spellings.end(), index, before);
  if (found != encoding.spellings.end() && static_cast<size_t>(found->index) == index) return found->text;
  return vocabulary.token(encoding.ids[index]);
}

void complete(Encoding& encoding, int32_t number) {
  const size_t size = encoding.ids.size();
  encoding.type_ids.assign(size, number);
  encoding.sequence_ids.assign(size, number);
  encoding.special_mask.assign(size, 0);
  for (Encoding& part : encoding.overflowing) complete(part, number);
}

Encoding post_process(const PostProcessor* processor, Encoding first, std::optional<Encoding> second,
                      bool add_special_tokens, const Vocabulary& vocabulary) {
  std::vector<Encoding> parts;
  complete(first, 0);
  parts.push_back(std::move(first));
  if (second) {
    complete(*second, 1);
    parts.push_back(std::move(*second));
  }
  if (processor) processor->apply(parts, add_special_tokens, vocabulary);
  if (parts.empty()) return {};
  Encoding result = std::move(parts.front());
  for (size_t i = 1; i < parts.size(); ++i) append(result, parts[i]);
  return result;
}

void TrimOffsets::apply(std::vector<Encoding>& parts, bool, const Vocabulary& vocabulary) const {
  int32_t number = 0;
  for (Encoding& part : parts) {
    if (trims_) {
      trim(part, adds_prefix_space_, vocabulary);
      for (Encoding& overflow : part.overflowing) trim(overflow, adds_prefix_space_, vocabulary);
    }
    part.sequence_ids.assign(part.ids.size(), number++);
  }
}

ClassifierTokens::ClassifierTokens(Style style, int32_t first_id, int32_t separator_id, bool trims,
                                   bool adds_prefix_space)
    : style_(style), first_id_(first_id), separator_id_(separator_id), trim_(trims, adds_prefix_space) {
  single_.before.push_back({first_id, 0});
  single_.behind.push_back({separator_id, 0});
}

int64_t ClassifierTokens::num_added(bool is_pair) const {
  return !is_pair ? 2 : style_ == Style::kBert ? 3 : 4;
}

Encoding ClassifierTokens::surrounded(const Encoding& text, bool is_first, bool is_overflow) const {
  const bool is_bert = style_ == Style::kBert;
  Encoding result;
  if (is_first) {
    result = special_tokens({first_id_}, 0);
  } else if (!is_bert) {
    result = special_tokens({separator_id_}, 0);
  }
  const size_t begin = result.ids.size();
  append(result, part_of(text, 0, text.ids.size()));
  const auto clear_from = [&](auto& values, auto value) {
    std::fill(values.begin() + static_cast<ptrdiff_t>(begin), values.end(), value);
  };
  if (!is_bert && is_overflow) clear_from(result.type_ids, 0);
  clear_from(result.sequence_ids, is_first ? 0 : 1);
  clear_from(result.special_mask, uint8_t{0});
  append(result, special_tokens({separator_id_}, is_bert && !is_first ? 1 : 0));
  for (const Encoding& overflow : text.overflowing)
    result.overflowing.push_back(surrounded(part_of(overflow, 0, overflow.ids.size()), is_first, true));
  return result;
}

void ClassifierTokens::apply(std::vector<Encoding>& parts, bool add_special_tokens,
                             const Vocabulary& vocabulary) const {
  if (style_ == Style::kRoberta) {
    trim_.apply(parts, add_special_tokens, vocabulary);
    for (Encoding& part : parts) part.type_ids.assign(part.ids.size(), 0);
  }
  if (!add_special_tokens) return;
  for (size_t i = 0; i < parts.size(); ++i) parts[i] = surrounded(parts[i], i == 0, false);
}

TemplateProcessor::TemplateProcessor(std::vector<Step> single, std::vector<Step> pair)
    : single_(std::move(single)), pair_(std::move(pair)) {
  TokenTemplate result;
  int num_texts = 0;
  for (const Step& step : single_) {
    if (step.sequence >= 0) {
      ++num_texts;
      result.type_id = step.type_id;
    }
    for (const int32_t id : step.ids)
      (num_texts == 0 ? result.before : result.behind).push_back({id, step.type_id});
  }
  if (num_texts == 1) template_ = std::move(result);
}

int64_t TemplateProcessor::num_added(bool is_pair) const {
  int64_t count = 0;
  for (const Step& step : is_pair ? pair_ : single_) count += static_cast<int64_t>(step.ids.size());
  return count;
}

void TemplateProcessor::apply(std::vector<Encoding>& parts, bool add_special_tokens,
                              const Vocabulary&) const {
  if (parts.size() != 1 && parts.size() != 2)
    throw Error(ErrorKind::kUnsupported, concat("post_processor 'TemplateProcessing' behind one that makes ",
                                                parts.size(), " parts; put it first"));
  std::vector<Encoding> result;
  for (const Step& step : parts.size() == 2 ? pair_ : single_) {
    if (step.sequence < 0) {
      if (add_special_tokens) result.push_back(special_tokens(step.ids, step.type_id));
      continue;
    }
    Encoding& text = parts[static_cast<size_t>(step.sequence)];
    text.type_ids.assign(text.ids.size(), step.type_id);
    text.sequence_ids.assign(text.ids.size(), step.sequence);
    result.push_back(text);
  }
  parts = std::move(result);
}

ProcessorSequence::ProcessorSequence(std::vector<std::unique_ptr<PostProcessor>> steps)
    : steps_(std::move(steps)) {
  template_ = &nothing_;
  for (const auto& step : steps_) {
    const TokenTemplate* const own = step->single_template();
    if (own && own->num_specials() == 0 && own->type_id == 0) continue;
    // Two that add tokens: what the second does depends on what the first made.
    template_ = own && template_ == &nothing_ ? own : nullptr;
    if (!template_) return;
  }
}

int64_t ProcessorSequence::num_added(bool is_pair) const {
  int64_t count = 0;
  for (const auto& step : steps_) count += step->num_added(is_pair);
  return count;
}

void ProcessorSequence::apply(std::vector<Encoding>& parts, bool add_special_tokens,
                              const Vocabulary& vocabulary) const {
  for (const auto& step : steps_) step->apply(parts, add_special_tokens, vocabulary);
}

}  // namespace headrace
