#include "text/tokenizer.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"
#include "text/tokenizer_parts.h"

namespace headrace {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;

}  // namespace

Tokenizer::Tokenizer(Parts parts)
    : vocabulary_(std::move(parts.vocabulary)),
      is_special_(std::move(parts.is_special)),
      pipeline_(std::move(parts.pipeline)),
      post_processor_(std::move(parts.post_processor)),
      decoder_(std::move(parts.decoder)) {
  const TokenTemplate* const single = post_processor_ ? post_processor_->single_template() : nullptr;
  if (single) template_ = *single;
  if (!post_processor_) template_.emplace();
}

void Tokenizer::check(std::string_view text, const EncodeOptions& options) const {
  const int64_t num_specials = options.add_special_tokens ? special_tokens_count() : 0;
  if (options.max_tokens < 0 || (options.max_tokens > 0 && options.max_tokens < num_specials))
    throw Error(ErrorKind::kInvalidArgument,
                concat("max_tokens=", options.max_tokens, ": must be at least ", num_specials,
                       ", the number of special tokens, or 0 for no limit"));
  if (text.size() > kMaxTextBytes)
    throw Error(ErrorKind::kInvalidArgument, concat("the text has ", text.size(), " bytes; at most ",
                                                    kMaxTextBytes, " are allowed; split it into parts"));
  if (options.is_utf8) return;
  const size_t bad = utf8_first_invalid(text);
  if (bad != text.size())
    throw Error(ErrorKind::kInvalidArgument,
                concat("the text is not UTF-8: byte ", bad, " of ", text.size(),
                       " begins no valid character; decode the text with its own encoding first"));
}

size_t Tokenizer::num_kept(size_t num_own, const EncodeOptions& options) const {
  if (options.max_tokens == 0) return num_own;
  const int64_t num_specials = options.add_special_tokens ? special_tokens_count() : 0;
  return std::min(num_own, static_cast<size_t>(options.max_tokens - num_specials));
}

int64_t Tokenizer::append_ids(std::string_view text, const EncodeOptions& options, Pipeline::Scratch& scratch,
                              std::vector<int32_t>& out) const {
  if (!template_) {
    const Encoding encoding = encode(text, options);
    out.insert(out.end(), encoding.ids.begin(), encoding.ids.end());
    return encoding.num_tokens;
  }
  pipeline_->run(text, {options.allow_special, options.guarded}, scratch, nullptr);
  const IdBuffer& ids = scratch.ids;
  if (options.add_special_tokens)
    for (const auto& special : template_->before) out.push_back(special.id);
  const size_t kept = num_kept(ids.size(), options);
  const int32_t* const first = ids.data() + (options.direction == Direction::kLeft ? ids.size() - kept : 0);
  out.insert(out.end(), first, first + kept);
  if (options.add_special_tokens)
    for (const auto& special : template_->behind) out.push_back(special.id);
  return static_cast<int64_t>(ids.size()) + (options.add_special_tokens ? special_tokens_count() : 0);
}

int64_t Tokenizer::encode_ids(std::string_view text, const EncodeOptions& options,
                              std::vector<int32_t>& out) const {
  check(text, options);
  const ScratchPool::Lease lease(scratch_, *pipeline_);
  return append_ids(text, options, *lease, out);
}

int64_t Tokenizer::count(std::string_view text, const EncodeOptions& options) const {
  check(text, options);
  const ScratchPool::Lease lease(scratch_, *pipeline_);
  pipeline_->run(text, {options.allow_special, options.guarded}, *lease, nullptr);
  return static_cast<int64_t>((*lease).ids.size()) +
         (options.add_special_tokens ? special_tokens_count() : 0);
}

std::vector<int32_t> Tokenizer::special_ids() const {
  std::vector<int32_t> ids;
  for (size_t id = 0; id < is_special_.size(); ++id)
    if (is_special_[id]) ids.push_back(static_cast<int32_t>(id));
  return ids;
}

Encoding Tokenizer::encode_alone(std::string_view text, const EncodeOptions& options) const {
  check(text, options);
  const ScratchPool::Lease lease(scratch_, *pipeline_);
  Encoding own;
  pipeline_->run(text, {options.allow_special, options.guarded}, *lease, &own);
  const IdBuffer& ids = (*lease).ids;
  own.ids.assign(ids.data(), ids.data() + ids.size());
  return own;
}

void Tokenizer::cut(Encoding& first, Encoding* second, int64_t num_added, const EncodeOptions& options) {
  if (options.max_tokens == 0) return;
  if (options.max_tokens < num_added)
    throw Error(ErrorKind::kInvalidArgument,
                concat("max_tokens=", options.max_tokens, ": must be at least ", num_added,
                       ", the number of special tokens around two texts, or 0 for no limit"));
  const int64_t left = options.max_tokens - num_added;
  const int64_t stride = options.stride.value_or(0);
  if (stride < 0 || (stride > 0 && stride >= left))
    throw Error(ErrorKind::kInvalidArgument,
                concat("stride=", stride, ": must be at least 0 and below ", left,
                       ", the number of tokens that max_tokens leaves to the text"));
  truncate(first, second, {left, options.strategy, stride, options.direction});
  if (options.stride) return;
  first.overflowing.clear();
  if (second) second->overflowing.clear();
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  Encoding own = encode_alone(text, options);
  const int64_t num_added = options.add_special_tokens ? special_tokens_count() : 0;
  const auto num_own = static_cast<int64_t>(own.ids.size());
  cut(own, nullptr, num_added, options);
  Encoding result = post_process(post_processor_.get(), std::move(own), std::nullopt,
                                 options.add_special_tokens, *vocabulary_);
  result.num_tokens = num_own + num_added;
  return result;
}

Encoding Tokenizer::encode_pair(std::string_view first, std::string_view second,
                                const EncodeOptions& options) const {
  Encoding one = encode_alone(first, options);
  Encoding two = encode_alone(second, options);
  const int64_t num_added = options.add_special_tokens ? special_tokens_count(true) : 0;
  const auto num_own = static_cast<int64_t>(one.ids.size() + two.ids.size());
  cut(one, &two, num_added, options);
  Encoding result = post_process(post_processor_.get(), std::move(one), std::move(two),
                                 options.add_special_tokens, *vocabulary_);
  result.num_tokens = num_own + num_added;
  return result;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    if (!vocabulary_->contains(id)) continue;
    if (skip_special_tokens && is_special_[static_cast<size_t>(id)]) continue;
    tokens.emplace_back(token(id));
  }
  if (decoder_) decoder_->apply(tokens);
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && !decoder_) text.push_back(' ');
    text += tokens[i];
  }
  return text;
}

StreamDecoder Tokenizer::stream_decoder(bool skip_special_tokens) const {
  const auto is_byte = [this](int32_t id) {
    const std::string_view spelled = token(id);
    return spelled.size() == 6 && spelled.starts_with("<0x") && spelled.back() == '>';
  };
  return StreamDecoder(
      [this, skip_special_tokens](std::span<const int32_t> ids) { return decode(ids, skip_special_tokens); },
      is_byte);
}

}  // namespace headrace
