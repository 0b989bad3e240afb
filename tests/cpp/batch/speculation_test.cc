// Estimates of acceptance and of what a row costs, and what follows from them.
#include "batch/speculation.h"

#include <gtest/gtest.h>

#include <random>

namespace headrace {
namespace {

TEST(AcceptanceRecord, learns_from_what_was_accepted_and_forgets) {
  AcceptanceRecord record;
  EXPECT_LT(record.chance(2), record.chance(3));
  EXPECT_LT(record.chance(3), record.chance(20));
  for (int i = 0; i < 40; ++i) record.observe(20, false);
  EXPECT_LT(record.chance(20), 0.15);
  EXPECT_GT(record.chance(5), 0.4) << "matches of other lengths have their own";
  for (int i = 0; i < 40; ++i) record.observe(20, true);
  EXPECT_GT(record.chance(20), 0.75);
}

// The share that is found when a step of r rows takes 1 + slope (r - 1), with noise.
double found(double slope, double unit, double disturbed, int steps) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> noise(0.95, 1.1), chance(0, 1);
  RowCost cost;
  for (int i = 0; i < steps; ++i) {
    const auto rows = static_cast<int64_t>(1 + random() % 6);
    const double seconds = unit * (1 + slope * static_cast<double>(rows - 1)) * noise(random);
    cost.observe(rows, chance(random) < disturbed ? 20 * seconds : seconds);
  }
  return cost.share();
}

TEST(RowCost, is_the_slope_of_the_steps_seen) {
  for (const double unit : {1e-5, 3e-3, 2.0})
    for (const double slope : {0.05, 0.12, 0.25, 0.6})
      for (const double disturbed : {0.0, 0.1})
        EXPECT_NEAR(found(slope, unit, disturbed, 300), slope, 0.03 + slope / 5) << unit << ' ' << disturbed;
}

TEST(RowCost, stays_at_its_first_guess_while_all_steps_are_alike) {
  RowCost cost;
  const double first = cost.share();
  for (int i = 0; i < 500; ++i) cost.observe(1, 0.003);
  EXPECT_NEAR(cost.share(), first, 0.01);
}

TEST(RowCost, follows_a_machine_that_becomes_slow) {
  RowCost cost;
  for (int i = 0; i < 100; ++i) cost.observe(1 + i % 4, 0.003 * (1 + 0.1 * (i % 4)));
  for (int i = 0; i < 1500; ++i) cost.observe(1 + i % 4, 0.03 * (1 + 0.5 * (i % 4)));
  EXPECT_NEAR(cost.share(), 0.5, 0.15);
}

int64_t taken(int64_t rows, double share, double chance) {
  RowChoice choice(rows, share);
  int64_t count = 0;
  for (double likely = chance; count < 100 && choice.take(likely); likely *= chance) ++count;
  return count;
}

TEST(RowChoice, takes_more_of_what_is_likely_and_fewer_in_company) {
  EXPECT_EQ(taken(1, 0.2, 0.1), 0);
  EXPECT_GE(taken(1, 0.2, 0.5), 1);
  EXPECT_GE(taken(1, 0.2, 0.95), 6);
  EXPECT_GT(taken(1, 0.05, 0.8), taken(1, 0.2, 0.8));
  EXPECT_LE(taken(8, 0.2, 0.95), taken(1, 0.2, 0.95));
  EXPECT_EQ(taken(64, 0.2, 0.95), 0) << "rows cost what they bring";
  EXPECT_EQ(taken(1, 1.0, 0.99), 0);
}

TEST(RowCost, tells_what_a_step_takes) {
  RowCost cost;
  EXPECT_EQ(cost.seconds(1), 0) << "nothing was seen";
  for (int i = 0; i < 300; ++i) cost.observe(1 + i % 5, 0.010 + 0.001 * (i % 5));
  EXPECT_NEAR(cost.seconds(1), 0.010, 0.001);
  EXPECT_NEAR(cost.seconds(5), 0.014, 0.001);
  EXPECT_NEAR(cost.seconds(21), 0.030, 0.003);
}

}  // namespace
}  // namespace headrace
