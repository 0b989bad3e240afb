// The clock of the engine's queues and counters.
#pragma once

#include <chrono>
#include <cstdint>

namespace headrace {

inline int64_t now_us() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

inline double us_to_seconds(int64_t us) { return static_cast<double>(us) * 1e-6; }

}  // namespace headrace
