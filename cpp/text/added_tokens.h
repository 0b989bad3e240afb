// Added tokens: strings that are tokens wherever they stand, found before the text is split into words.
//
// One AddedTokens object is one set searched together: the tokens marked `normalized` in the normalized text,
// the others in the text as given. Matches are leftmost, then longest, and do not overlap.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"

namespace headrace {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool single_word = false;  // no match beside a word character
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = false;   // is searched in the normalized text
  bool special = false;
};

// Where special tokens may stand in a text.
struct SpecialsAllowed {
  bool anywhere = true;
  // Byte offsets in rising order that no special token may cover: there the text is somebody's content.
  std::span<const uint32_t> guarded = {};

  bool within(size_t begin, size_t end) const {
    if (!anywhere) return false;
    if (guarded.empty()) return true;
    const auto next = std::lower_bound(guarded.begin(), guarded.end(), begin);
    return next == guarded.end() || *next >= end;
  }
};

class AddedTokens {
 public:
  AddedTokens() = default;

  // contents[i] is what is searched for tokens[i]; an empty one is never found, and of equal ones the first
  // counts.
  AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& contents);

  bool empty() const { return tokens_.empty(); }

  // Calls piece(begin, end, token) for the pieces of text in order, token being null for the text between
  // matches. Special tokens are left in the text where they are not allowed. A piece may begin before the end
  // of the one before it, when that one stripped white space which its own token begins with.
  template <typename Piece>
  void split(std::string_view text, const SpecialsAllowed& specials, Piece&& piece) const {
    size_t done = 0;
    Match match{};
    for (size_t from = 0; find(text, from, specials, &match); from = match.next) {
      size_t begin = match.begin;
      const AddedToken& token = *match.token;
      if (token.lstrip) begin = space_before(text, begin, done);
      const size_t end = token.rstrip ? space_behind(text, match.next) : match.next;
      if (done < begin) piece(done, begin, nullptr);
      if (begin < end) piece(begin, end, &token);
      done = end;
    }
    if (done < text.size()) piece(done, text.size(), nullptr);
  }

 private:
  struct Match {
    size_t begin;
    size_t next;  // one past the token, where the search goes on
    const AddedToken* token;
  };

  // The first match at or behind `from` that counts.
  bool find(std::string_view text, size_t from, const SpecialsAllowed& specials, Match* match) const;
  size_t next_candidate(std::string_view text, size_t from) const;
  static size_t space_before(std::string_view text, size_t at, size_t limit);
  static size_t space_behind(std::string_view text, size_t at);

  std::vector<AddedToken> tokens_;
  ByteTrie trie_;            // value: index into tokens_
  bool are_special_ = true;  // all that can be found
  bool begins_[256] = {};
  int only_first_byte_ = -1;  // the first byte of all of them, when they share it
};

}  // namespace headrace
