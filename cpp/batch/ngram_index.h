// Where a sequence has said the same before: for its last few tokens, the place behind their latest earlier
// occurrence. What followed there is a guess of what follows now: quotations, edits and summaries repeat
// their prompt, and lists their own beginnings. (Saxena 2023, "Prompt lookup decoding".)
//
//   NgramIndex index;
//   index.read(tokens);                      // the prompt, then again after each token
//   if (index.match().length > 0) ...        // tokens[index.match().next] followed the last time
//
// A token costs the same at any length: its bigram and its trigram are looked up in a table of places and put
// there. A table's search ends after a few places, and what finds none replaces another: no choice of tokens
// makes it slow, it makes matches rarer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace headrace {

class NgramIndex {
 public:
  static constexpr int64_t kShortest = 2;  // tokens that must agree for a match
  static constexpr int64_t kLongest = 3;   // tokens that are looked up at once
  static constexpr int64_t kCounted = 32;  // a match's length is not counted further

  // tokens[next - length, next) are the sequence's last `length` tokens. length 0: there is no match.
  struct Match {
    int64_t next = 0;
    int64_t length = 0;
  };

  // tokens: the sequence so far, at most 2^31 - 1; begins with what it was in the last call.
  void read(std::span<const int32_t> tokens);

  int64_t tokens() const { return read_; }
  // The longer of two: the one that has agreed so far, and the latest occurrence of the last trigram, else of
  // the last bigram. Of two alike the later one.
  const Match& match() const { return match_; }

  // What followed the match, up to proposed.size() tokens; behind the sequence's end its own guess goes on,
  // so that a period repeats. Returns how many: all, or none without a match. tokens: as in the last read().
  int64_t propose(std::span<const int32_t> tokens, std::span<int32_t> proposed) const;

 private:
  // Places behind n-grams, by hash; 0 is free: no n-gram ends there.
  struct Table {
    std::vector<int32_t> places;
    int64_t used = 0;
  };

  void read_one(std::span<const int32_t> tokens);
  // The place behind the latest occurrence of the n-gram that ends at `end`, which takes its place; 0: none.
  static int64_t exchange(Table& table, std::span<const int32_t> tokens, int64_t n, int64_t end);
  static void grow(Table& table, std::span<const int32_t> tokens, int64_t n);
  static int64_t length(std::span<const int32_t> tokens, int64_t next, int64_t end);

  int64_t read_ = 0;
  Match match_;
  Table tables_[kLongest - kShortest + 1];
};

}  // namespace headrace
