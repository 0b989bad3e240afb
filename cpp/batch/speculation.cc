#include "batch/speculation.h"

#include <algorithm>

namespace headrace {
namespace {

// Agreement of 2, 3, 4 to 6, 7 to 14 and more tokens, and the chance taken for each until a sequence has
// shown its own: about what 66 chats of SmolLM2 had, over three temperatures.
constexpr int64_t kClassEnds[] = {3, 4, 7, 15};
constexpr double kFirstChance[] = {0.25, 0.45, 0.65, 0.8, 0.92};
constexpr double kFirstWeight = 4;    // matches that a first chance counts for
constexpr double kRemembered = 0.97;  // weight of what was seen one match before

// Long: where texts do not repeat, only one step in ten or so has more than one row.
constexpr double kStepKept = 0.997;
// The first share counts for so many steps, half of them with kFirstRows rows behind the first.
constexpr double kFirstSteps = 8, kFirstRows = 2;
constexpr double kLeastShare = 0.02, kMostShare = 1;
// A step that took so many times what was expected was disturbed; only many in a row are a change.
constexpr double kDisturbed = 3;
constexpr int kChange = 8;

// A row must be expected to bring so many times its cost: chances and costs are estimates. By this no text of
// those chats would be slower by more than 4 % with rows of any cost from 0.07 to 0.3.
constexpr double kMargin = 1.1;

}  // namespace

size_t AcceptanceRecord::class_of(int64_t agreed) {
  size_t at = 0;
  for (const int64_t end : kClassEnds) at += agreed >= end;
  return at;
}

void AcceptanceRecord::observe(int64_t agreed, bool accepted) {
  Count& count = counts_[class_of(agreed)];
  count.accepted = kRemembered * count.accepted + (accepted ? 1.0 : 0.0);
  count.all = kRemembered * count.all + 1;
}

double AcceptanceRecord::chance(int64_t agreed) const {
  const size_t at = class_of(agreed);
  return (counts_[at].accepted + kFirstWeight * kFirstChance[at]) / (counts_[at].all + kFirstWeight);
}

void RowCost::observe(int64_t rows, double seconds) {
  const auto r = static_cast<double>(rows - 1);
  if (steps_ > 0) {
    const double first = t_ / (steps_ + share_ * r_);
    const bool is_late = seconds > kDisturbed * first * (1 + share_ * r);
    late_ = is_late ? late_ + 1 : 0;
    if (is_late && late_ < kChange) return;
  }
  for (double* const sum : {&steps_, &r_, &rr_, &t_, &rt_}) *sum *= kStepKept;
  steps_ += 1, r_ += r, rr_ += r * r, t_ += seconds, rt_ += r * seconds;
  fit();
}

double RowCost::seconds(int64_t rows) const {
  if (steps_ == 0) return 0;
  return t_ / (steps_ + share_ * r_) * (1 + share_ * static_cast<double>(rows - 1));
}

void RowCost::fit() {
  // The first share as steps of one row and of more, in the unit of time that the steps seen have under it.
  const double first = t_ / (steps_ + kFirstShare * r_), half = kFirstSteps / 2;
  const double n = steps_ + kFirstSteps, r = r_ + half * kFirstRows,
               rr = rr_ + half * kFirstRows * kFirstRows;
  const double longer = first * (1 + kFirstShare * kFirstRows);
  const double t = t_ + half * (first + longer), rt = rt_ + half * kFirstRows * longer;
  const double slope = (n * rt - r * t) / (n * rr - r * r), start = (t - slope * r) / n;
  share_ = start > 0 ? std::clamp(slope / start, kLeastShare, kMostShare) : kMostShare;
}

bool RowChoice::take(double chance) {
  if (chance * time_ < kMargin * share_ * tokens_) return false;
  tokens_ += chance;
  time_ += share_;
  return true;
}

}  // namespace headrace
