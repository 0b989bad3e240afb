#include "models/rotary.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace headrace {
namespace {

constexpr double kPi = 3.14159265358979323846;

// Frequencies that turn often in the trained length stay, those that hardly turn are slowed down by the
// factor, those between are blended.
double llama3_frequency(const RotaryConfig& c, double frequency) {
  const double wavelength = 2 * kPi / frequency;
  if (wavelength < c.original_positions / c.high_frequency_factor) return frequency;
  if (wavelength > c.original_positions / c.low_frequency_factor) return frequency / c.factor;
  const double blend = (c.original_positions / wavelength - c.low_frequency_factor) /
                       (c.high_frequency_factor - c.low_frequency_factor);
  return (1 - blend) * frequency / c.factor + blend * frequency;
}

// The pair that turns `rotations` times over the trained length.
double yarn_pair(const RotaryConfig& c, double rotated, double rotations) {
  return rotated * std::log(c.original_positions / (rotations * 2 * kPi)) / (2 * std::log(c.theta));
}

double yarn_frequency(const RotaryConfig& c, double rotated, int64_t pair, double frequency) {
  double low = yarn_pair(c, rotated, c.beta_fast), high = yarn_pair(c, rotated, c.beta_slow);
  if (c.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, rotated - 1);
  if (low == high) high += 0.001;
  const double ramp = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  return frequency / c.factor * ramp + frequency * (1 - ramp);
}

}  // namespace

void RotaryTable::fill(const RotaryConfig& c, int64_t rotated, int64_t positions) {
  half_ = rotated / 2;
  table_ = Buffer(positions * rotated);
  std::vector<float> frequencies;
  const auto longest = static_cast<double>(positions);
  const bool is_long = longest > c.original_positions;
  const std::vector<float>& divisors = c.type == "longrope" && is_long ? c.long_divisors : c.divisors;
  double theta = c.theta;
  if (c.type == "dynamic" && is_long && rotated > 2)
    theta *= std::pow(c.factor * longest / c.original_positions - (c.factor - 1),
                      static_cast<double>(rotated) / static_cast<double>(rotated - 2));
  for (int64_t i = 0; i < half_; ++i) {
    const auto width = static_cast<double>(rotated);
    double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / width);
    if (c.type == "linear") frequency /= c.factor;
    if (c.type == "llama3") frequency = llama3_frequency(c, frequency);
    if (c.type == "yarn") frequency = yarn_frequency(c, width, i, frequency);
    if (!divisors.empty()) frequency /= divisors[static_cast<size_t>(i)];
    frequencies.push_back(static_cast<float>(frequency));
  }
  double scale = 1;
  if (c.type == "yarn") {
    scale = c.attention_factor;
    if (scale == 0) scale = c.factor <= 1 ? 1 : 0.1 * std::log(c.factor) + 1;
  }
  if (c.type == "longrope") {
    scale = c.attention_factor;
    if (scale == 0)
      scale = c.factor <= 1 ? 1 : std::sqrt(1 + std::log(c.factor) / std::log(c.original_positions));
  }
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t i = 0; i < half_; ++i) {
      // In f32, as models were trained.
      const float angle = static_cast<float>(p) * frequencies[static_cast<size_t>(i)];
      float* const row = table_.data() + p * rotated;
      row[i] = static_cast<float>(std::cos(static_cast<double>(angle)) * scale);
      row[half_ + i] = static_cast<float>(std::sin(static_cast<double>(angle)) * scale);
    }
}

}  // namespace headrace
