#include "kernels/dispatch.h"

#include <cstdlib>
#include <utility>

#include "base/cpu.h"
#include "base/error.h"

namespace headrace {

extern const Kernels kernels_reference;
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx2_vnni;
extern const Kernels kernels_avx512;
extern const Kernels kernels_avx512_vnni;
extern const Kernels kernels_avx512_bf16;
extern const Kernels kernels_amx;

namespace {

struct Entry {
  const Kernels* table;
  bool runs_here;
};

std::vector<Entry> all_entries() {
  std::vector<Entry> entries;
#if defined(HEADRACE_HAS_amx)
  entries.push_back({&kernels_amx, cpu_features().amx});
#endif
#if defined(HEADRACE_HAS_avx512_bf16)
  entries.push_back({&kernels_avx512_bf16, cpu_features().avx512_bf16});
#endif
#if defined(HEADRACE_HAS_avx512_vnni)
  entries.push_back({&kernels_avx512_vnni, cpu_features().avx512_vnni});
#endif
#if defined(HEADRACE_HAS_avx512_bf16) && defined(HEADRACE_HAS_avx512_vnni)
  // The same but for bf16, which it widens to f32.
  if (cpu_features().slow_bf16) std::swap(entries.back(), entries[entries.size() - 2]);
#endif
#if defined(HEADRACE_HAS_avx512)
  entries.push_back({&kernels_avx512, cpu_features().avx512});
#endif
#if defined(HEADRACE_HAS_avx2_vnni)
  entries.push_back({&kernels_avx2_vnni, cpu_features().avx2_vnni});
#endif
#if defined(HEADRACE_HAS_avx2)
  entries.push_back({&kernels_avx2, cpu_features().avx2});
#endif
  entries.push_back({&kernels_reference, true});
  return entries;
}

std::string join(const std::vector<std::string>& names) {
  std::string joined;
  for (const std::string& name : names) joined += (joined.empty() ? "" : ", ") + name;
  return joined;
}

}  // namespace

std::span<const Kernels* const> runnable_kernels() {
  static const std::vector<const Kernels*> tables = [] {
    std::vector<const Kernels*> runnable;
    for (const Entry& entry : all_entries())
      if (entry.runs_here) runnable.push_back(entry.table);
    return runnable;
  }();
  return tables;
}

std::vector<std::string> known_kernel_names() {
  std::vector<std::string> names;
  for (const Entry& entry : all_entries()) names.emplace_back(entry.table->name);
  return names;
}

const Kernels& kernels_by_name(const std::string& name) {
  if (name.empty() || name == "auto") return *runnable_kernels().front();
  for (const Entry& entry : all_entries()) {
    if (name != entry.table->name) continue;
    if (entry.runs_here) return *entry.table;
    std::vector<std::string> runnable;
    for (const Kernels* table : runnable_kernels()) runnable.emplace_back(table->name);
    throw Error(ErrorKind::kUnsupported, concat("HEADRACE_ISA=", name, ": this processor (", cpu_model(),
                                                ") cannot run it; it can run ", join(runnable),
                                                ". Unset HEADRACE_ISA to use the best."));
  }
  throw Error(ErrorKind::kUnsupported,
              concat("HEADRACE_ISA=", name, ": unknown; this build has ", join(known_kernel_names()),
                     ". Unset HEADRACE_ISA to use the best."));
}

const Kernels& kernels() {
  static const Kernels& chosen = [&]() -> const Kernels& {
    const char* forced = std::getenv("HEADRACE_ISA");
    return kernels_by_name(forced ? forced : "");
  }();
  return chosen;
}

}  // namespace headrace
