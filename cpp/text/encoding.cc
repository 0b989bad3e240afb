#include "text/encoding.h"

namespace headrace {
namespace {

template <typename T>
void append_vector(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

template <typename T>
std::vector<T> slice(const std::vector<T>& whole, size_t begin, size_t end) {
  if (whole.empty()) return {};
  return {whole.begin() + static_cast<ptrdiff_t>(begin), whole.begin() + static_cast<ptrdiff_t>(end)};
}

std::vector<Encoding> join_parts(const Encoding& first, const Encoding& second) {
  std::vector<Encoding> parts;
  const auto join = [&](const Encoding& a, const Encoding& b) {
    Encoding part = a;
    append(part, b);
    parts.push_back(std::move(part));
  };
  for (const Encoding& part : first.overflowing) {
    join(part, second);
    for (const Encoding& other : second.overflowing) join(part, other);
  }
  for (const Encoding& other : second.overflowing) join(first, other);
  return parts;
}

}  // namespace

Encoding part_of(const Encoding& whole, size_t begin, size_t end) {
  Encoding part;
  part.ids = slice(whole.ids, begin, end);
  part.type_ids = slice(whole.type_ids, begin, end);
  part.sequence_ids = slice(whole.sequence_ids, begin, end);
  part.offsets = slice(whole.offsets, begin, end);
  part.special_mask = slice(whole.special_mask, begin, end);
  part.attention_mask = slice(whole.attention_mask, begin, end);
  for (const Encoding::Spelling& spelling : whole.spellings)
    if (const auto index = static_cast<size_t>(spelling.index); index >= begin && index < end)
      part.spellings.push_back({static_cast<int32_t>(index - begin), spelling.text});
  part.num_tokens = whole.num_tokens;
  return part;
}

void append(Encoding& encoding, const Encoding& other) {
  std::vector<Encoding> parts;
  if (!encoding.overflowing.empty() || !other.overflowing.empty()) parts = join_parts(encoding, other);
  const auto moved = static_cast<int32_t>(encoding.ids.size());
  append_vector(encoding.ids, other.ids);
  append_vector(encoding.type_ids, other.type_ids);
  append_vector(encoding.sequence_ids, other.sequence_ids);
  append_vector(encoding.offsets, other.offsets);
  append_vector(encoding.special_mask, other.special_mask);
  for (const Encoding::Spelling& spelling : other.spellings)
    encoding.spellings.push_back({spelling.index + moved, spelling.text});
  encoding.num_tokens += other.num_tokens;
  encoding.overflowing = std::move(parts);
}

}  // namespace headrace
