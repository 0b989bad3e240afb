#include "text/truncate.h"

#include <algorithm>

#include "base/error.h"

namespace headrace {
namespace {

int64_t size_of(const Encoding& encoding) { return static_cast<int64_t>(encoding.ids.size()); }

void pad_one(Encoding& encoding, int64_t length, const Padding& padding) {
  for (Encoding& part : encoding.overflowing) pad_one(part, length, padding);
  if (encoding.attention_mask.empty()) encoding.attention_mask.assign(encoding.ids.size(), 1);
  if (size_of(encoding) >= length) return;
  const auto count = static_cast<size_t>(length) - encoding.ids.size();
  const bool is_left = padding.direction == Direction::kLeft;
  const auto fill = [&](auto& values, auto value) {
    values.insert(is_left ? values.begin() : values.end(), count, value);
  };
  fill(encoding.ids, padding.id);
  fill(encoding.type_ids, padding.type_id);
  fill(encoding.sequence_ids, -1);
  fill(encoding.offsets, std::pair<int32_t, int32_t>(0, 0));
  fill(encoding.special_mask, uint8_t{1});
  fill(encoding.attention_mask, uint8_t{0});
  if (is_left)
    for (Encoding::Spelling& spelling : encoding.spellings) spelling.index += static_cast<int32_t>(count);
}

// How many tokens two texts keep so that the longer one gives first.
std::pair<int64_t, int64_t> share(int64_t first, int64_t second, int64_t max_tokens) {
  const int64_t shorter = std::min(first, second);
  if (2 * shorter <= max_tokens)
    return first <= second ? std::pair(shorter, max_tokens - shorter)
                           : std::pair(max_tokens - shorter, shorter);
  const int64_t less = max_tokens / 2;
  const int64_t more = max_tokens - less;
  return first <= second ? std::pair(less, more) : std::pair(more, less);
}

}  // namespace

void truncate(Encoding& encoding, int64_t max_tokens, int64_t stride, Direction direction) {
  const int64_t size = size_of(encoding);
  if (max_tokens >= size) return;
  if (max_tokens == 0) {
    Encoding nothing;
    nothing.num_tokens = encoding.num_tokens;
    nothing.overflowing.push_back(std::move(encoding));
    encoding = std::move(nothing);
    return;
  }
  if (max_tokens < 0 || stride < 0 || stride >= max_tokens)
    throw Error(ErrorKind::kInvalidArgument,
                concat("truncation to ", max_tokens, " tokens of the text with stride=", stride,
                       ": stride must be at least 0 and below that number"));
  std::vector<Encoding> parts;
  const bool is_right = direction == Direction::kRight;
  for (int64_t done = 0;; done += max_tokens - stride) {
    const int64_t begin = is_right ? done : std::max<int64_t>(0, size - done - max_tokens);
    const int64_t end = is_right ? std::min(size, done + max_tokens) : size - done;
    parts.push_back(part_of(encoding, static_cast<size_t>(begin), static_cast<size_t>(end)));
    if (is_right ? end == size : begin == 0) break;
  }
  encoding = std::move(parts.front());
  parts.erase(parts.begin());
  encoding.overflowing = std::move(parts);
}

void truncate(Encoding& first, Encoding* second, const Truncation& truncation) {
  using Strategy = Truncation::Strategy;
  const auto cut = [&](Encoding& encoding, int64_t max_tokens) {
    truncate(encoding, max_tokens, truncation.stride, truncation.direction);
  };
  const int64_t max_tokens = truncation.max_tokens;
  if (max_tokens == 0) {
    cut(first, 0);
    if (second) cut(*second, 0);
    return;
  }
  const int64_t total = size_of(first) + (second ? size_of(*second) : 0);
  if (total <= max_tokens) return;
  if (truncation.strategy == Strategy::kLongestFirst) {
    if (!second) return cut(first, max_tokens);
    const auto [first_kept, second_kept] = share(size_of(first), size_of(*second), max_tokens);
    cut(first, first_kept);
    cut(*second, second_kept);
    return;
  }
  const bool is_first = truncation.strategy == Strategy::kOnlyFirst;
  if (!is_first && !second)
    throw Error(ErrorKind::kInvalidArgument,
                "truncation only_second: there is no second text; use only_first or longest_first");
  Encoding& target = is_first ? first : *second;
  const int64_t kept = size_of(target) - (total - max_tokens);
  if (kept <= 0)
    throw Error(ErrorKind::kInvalidArgument,
                concat("truncation ", is_first ? "only_first" : "only_second", ": the text has ",
                       size_of(target), " tokens and would have to lose ", total - max_tokens,
                       "; use longest_first or a larger limit"));
  cut(target, kept);
}

int64_t padded_length(const Padding& padding) {
  const int64_t over = padding.multiple_of > 0 ? padding.length % padding.multiple_of : 0;
  return over > 0 ? padding.length - over + padding.multiple_of : padding.length;
}

void pad(std::span<Encoding> batch, const Padding& padding) {
  Padding wanted = padding;
  if (wanted.length == 0)
    for (const Encoding& encoding : batch) wanted.length = std::max(wanted.length, size_of(encoding));
  const int64_t length = padded_length(wanted);
  for (Encoding& encoding : batch) pad_one(encoding, length, padding);
}

}  // namespace headrace
