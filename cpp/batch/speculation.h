// Whether a proposed token is worth its row: how likely proposals are to be accepted, and what rows cost.
//
// A step that computes a sequence's next token and, in further rows, a few proposed ones behind it gives as
// many tokens as were accepted, plus one. (Leviathan et al. 2023, arXiv:2211.17192; proposals from the text
// itself: ngram_index.h.) A row costs little where weights are read from memory for one row as for many, and
// as much as any other where many rows are computed anyway. So neither a fixed number of proposals nor a
// limit on the load is right everywhere; both are measured instead.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace headrace {

// How often matches foretold the next token of one sequence, by how many tokens before it had agreed. Every
// match counts, proposed or not: where proposals are not worth a row, watching costs nothing.
class AcceptanceRecord {
 public:
  // agreed: tokens of the match, at least 1.
  void observe(int64_t agreed, bool accepted);
  // The estimated chance that the next token is the one foretold, between 0 and 1.
  double chance(int64_t agreed) const;

 private:
  static constexpr size_t kClasses = 5;
  static size_t class_of(int64_t agreed);

  struct Count {
    double accepted = 0, all = 0;
  };
  std::array<Count, kClasses> counts_;
};

// What one more row costs, as a share of a step of one row: the slope of a line through the steps seen, the
// latest first. Begins at a middling value, which weighs as much as a few steps.
class RowCost {
 public:
  void observe(int64_t rows, double seconds);
  double share() const { return share_; }
  // Of a step of so many rows, as the line says; 0: none was seen.
  double seconds(int64_t rows) const;

 private:
  void fit();

  // Sums over steps, older ones less: of 1, r, r^2, t and r t, where r is rows - 1.
  double steps_ = 0, r_ = 0, rr_ = 0, t_ = 0, rt_ = 0;
  static constexpr double kFirstShare = 0.2;
  double share_ = kFirstShare;
  int late_ = 0;  // steps in a row that took much longer than the line says
};

// Chooses rows one after another, the likeliest first, while each is expected to bring more tokens for its
// time than the step does without it.
class RowChoice {
 public:
  // rows: of the step so far, at least 1; each is taken to be worth one token. row_share: RowCost::share().
  RowChoice(int64_t rows, double row_share) : tokens_(static_cast<double>(rows)), share_(row_share) {
    time_ = 1 + share_ * (tokens_ - 1);
  }
  // Whether a row that is accepted with this chance is worth its time; it is taken if so.
  bool take(double chance);

 private:
  double tokens_, time_, share_;
};

}  // namespace headrace
