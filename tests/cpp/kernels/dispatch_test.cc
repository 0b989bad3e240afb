#include "kernels/dispatch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "base/cpu.h"
#include "base/error.h"

namespace headrace {
namespace {

TEST(Dispatch, the_reference_is_last_and_always_there) {
  ASSERT_FALSE(runnable_kernels().empty());
  EXPECT_STREQ(runnable_kernels().back()->name, "reference");
}

TEST(Dispatch, the_best_is_the_default) {
  EXPECT_EQ(&kernels_by_name(""), runnable_kernels().front());
  EXPECT_EQ(&kernels_by_name("auto"), runnable_kernels().front());
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // where nothing stays in registers
// Operations a second in registers, at best of many short runs: what else the machine does takes turns with
// them.
double rate_of(int64_t (*peak)(int64_t)) {
  double best = 0;
  for (int repeat = 0; repeat < 50; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    const auto operations = static_cast<double>(peak(2'000));
    best = std::max(
        best, operations / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

TEST(Dispatch, the_best_is_not_slowed_down_by_bf16) {
  const Kernels& best = *runnable_kernels().front();
  EXPECT_GT(rate_of(best.bf16.peak_ops), 0.75 * rate_of(best.peak_flops)) << best.name;
}
#endif

TEST(Dispatch, every_runnable_table_can_be_forced) {
  for (const Kernels* table : runnable_kernels()) EXPECT_EQ(&kernels_by_name(table->name), table);
}

TEST(Dispatch, an_unknown_name_is_refused_with_the_known_ones) {
  try {
    kernels_by_name("sse9");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_NE(error.message().find("sse9"), std::string::npos);
    EXPECT_NE(error.message().find("reference"), std::string::npos);
  }
}

TEST(Dispatch, what_the_processor_lacks_is_refused) {
  for (const std::string& name : known_kernel_names()) {
    const bool runs = std::any_of(runnable_kernels().begin(), runnable_kernels().end(),
                                  [&](const Kernels* table) { return name == table->name; });
    if (runs) {
      EXPECT_NO_THROW(kernels_by_name(name));
    } else {
      EXPECT_THROW(kernels_by_name(name), Error);
    }
  }
}

}  // namespace
}  // namespace headrace
