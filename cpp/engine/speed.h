// How fast a model runs, as its queue believes: what decides how much may wait.
#pragma once

#include <algorithm>
#include <cstdint>

#include "batch/scheduler.h"
#include "engine/metrics.h"

namespace headrace {

// A batch of so many tokens took `seconds`. Returns how many tokens may wait for budget_us from now on.
inline int64_t observe_speed(int64_t tokens, double seconds, int64_t budget_us, ModelMetrics& metrics,
                             Scheduler& scheduler) {
  // Weighted by tokens: small batches are slow a token and say little about the speed under load.
  const double speed = static_cast<double>(tokens) / seconds;
  const double full = static_cast<double>(scheduler.limits().max_batch_tokens);
  const double weight = std::min(0.25, static_cast<double>(tokens) / (4.0 * full));
  double& known = metrics.tokens_per_second;
  known = known == 0 ? speed : known + weight * (speed - known);
  scheduler.set_tokens_per_second(known);
  return std::max<int64_t>(1, static_cast<int64_t>(known * static_cast<double>(budget_us) * 1e-6));
}

}  // namespace headrace
