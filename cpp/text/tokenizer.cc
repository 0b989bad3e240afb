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
      template_(std::move(parts.token_template)),
      decoder_(std::move(parts.decoder)) {}

void Tokenizer::check(std::string_view text, const EncodeOptions& options) const {
  const int64_t num_specials = options.add_special_tokens ? special_tokens_count() : 0;
  if (options.max_tokens < 0 || (options.max_tokens > 0 && options.max_tokens < num_specials))
    throw Error(ErrorKind::kInvalidArgument,
                concat("max_tokens=", options.max_tokens, ": must be at least ", num_specials,
                       ", the number of special tokens, or 0 for no limit"));
  if (text.size() > kMaxTextBytes)
    throw Error(ErrorKind::kInvalidArgument, concat("the text has ", text.size(), " bytes; at most ",
                                                    kMaxTextBytes, " are allowed; split it into parts"));
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
  pipeline_->run(text, {options.allow_special, options.guarded}, scratch, nullptr);
  const IdBuffer& ids = scratch.ids;
  if (options.add_special_tokens)
    for (const auto& special : template_.before) out.push_back(special.id);
  out.insert(out.end(), ids.data(), ids.data() + num_kept(ids.size(), options));
  if (options.add_special_tokens)
    for (const auto& special : template_.behind) out.push_back(special.id);
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

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  check(text, options);
  const ScratchPool::Lease lease(scratch_, *pipeline_);
  const IdBuffer& ids = (*lease).ids;
  Encoding own;
  pipeline_->run(text, {options.allow_special, options.guarded}, *lease, &own);

  Encoding result;
  const size_t kept = num_kept(ids.size(), options);
  const auto append = [&](int32_t id, int32_t type_id, std::pair<int32_t, int32_t> offsets,
                          uint8_t is_special) {
    result.ids.push_back(id);
    result.type_ids.push_back(type_id);
    result.sequence_ids.push_back(is_special ? -1 : 0);
    result.offsets.push_back(offsets);
    result.special_mask.push_back(is_special);
  };
  if (options.add_special_tokens)
    for (const auto& special : template_.before) append(special.id, special.type_id, {0, 0}, 1);
  for (auto& spelling : own.spellings) {
    if (static_cast<size_t>(spelling.index) >= kept) break;
    spelling.index += static_cast<int32_t>(result.ids.size());
    result.spellings.push_back(std::move(spelling));
  }
  for (size_t i = 0; i < kept; ++i) append(ids[i], template_.type_id, own.offsets[i], 0);
  if (options.add_special_tokens)
    for (const auto& special : template_.behind) append(special.id, special.type_id, {0, 0}, 1);
  result.num_tokens =
      static_cast<int64_t>(ids.size()) + (options.add_special_tokens ? special_tokens_count() : 0);
  return result;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::string text;
  bool is_first = true;
  for (const int32_t id : ids) {
    if (!vocabulary_->contains(id)) continue;
    if (skip_special_tokens && is_special_[static_cast<size_t>(id)]) continue;
    if (decoder_) {
      decoder_->append(token(id), is_first, text);
    } else {
      if (!is_first) text.push_back(' ');
      text += token(id);
    }
    is_first = false;
  }
  return text;
}

}  // namespace headrace
