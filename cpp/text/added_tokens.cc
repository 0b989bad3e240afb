#include "text/added_tokens.h"

#include <cstring>

#include "base/utf8.h"
#include "text/unicode.h"

namespace headrace {
namespace {

// Where the character that ends at `end` begins. 0 < end, text well-formed.
size_t character_before(std::string_view text, size_t end) {
  size_t at = end - 1;
  while ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

const CharInfo& info_at(std::string_view text, size_t at) {
  return char_info(utf8_decode(text.data() + at, utf8_sequence_length(text, at)));
}

bool is_single_word(std::string_view text, size_t begin, size_t end) {
  if (begin > 0 && info_at(text, character_before(text, begin)).has(CharInfo::kWord)) return false;
  return end == text.size() || !info_at(text, end).has(CharInfo::kWord);
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& contents)
    : tokens_(std::move(tokens)) {
  std::vector<ByteTrie::Entry> entries;
  int num_first_bytes = 0;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (contents[i].empty()) continue;
    are_special_ = are_special_ && tokens_[i].special;
    entries.push_back({contents[i], static_cast<int32_t>(i), 0});
    const auto byte = static_cast<uint8_t>(contents[i][0]);
    if (!begins_[byte]) ++num_first_bytes;
    begins_[byte] = true;
    only_first_byte_ = byte;
  }
  if (num_first_bytes != 1) only_first_byte_ = -1;
  trie_ = ByteTrie(entries, 1);
  trie_.forget_edges();
}

size_t AddedTokens::next_candidate(std::string_view text, size_t from) const {
  if (from >= text.size()) return text.size();
  if (only_first_byte_ >= 0) {
    const void* const found = std::memchr(text.data() + from, only_first_byte_, text.size() - from);
    return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : text.size();
  }
  while (from < text.size() && !begins_[static_cast<uint8_t>(text[from])]) ++from;
  return from;
}

bool AddedTokens::find(std::string_view text, size_t from, const SpecialsAllowed& specials,
                       Match* match) const {
  if (tokens_.empty() || (are_special_ && !specials.anywhere)) return false;
  for (;;) {
    const size_t begin = next_candidate(text, from);
    if (begin == text.size()) return false;
    size_t length = 0;
    const int32_t index = trie_.longest_match(text, begin, &length);
    if (index < 0) {
      from = begin + 1;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    from = begin + length;
    if (token.special && !specials.within(begin, from)) continue;
    if (token.single_word && !is_single_word(text, begin, from)) continue;
    *match = {begin, from, &token};
    return true;
  }
}

// At least `limit`, so that white space is looked at once however many tokens there are.
size_t AddedTokens::space_before(std::string_view text, size_t at, size_t limit) {
  while (at > limit) {
    const size_t begin = character_before(text, at);
    if (!info_at(text, begin).has(CharInfo::kSpace)) break;
    at = begin;
  }
  return std::max(at, limit);
}

size_t AddedTokens::space_behind(std::string_view text, size_t at) {
  while (at < text.size() && info_at(text, at).has(CharInfo::kSpace)) at += utf8_sequence_length(text, at);
  return at;
}

}  // namespace headrace
