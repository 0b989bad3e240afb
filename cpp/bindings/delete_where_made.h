// The deleter of objects that own threads.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>

namespace headrace {

// A forked child leaves its parent's engine alone, at its own exit too.
struct DeleteWhereMade {
  template <typename Owner>
  void operator()(Owner* owner) const {
    if (!owner->made_here()) return;
    // Its threads may wait for the interpreter's lock, and this for their end.
    std::optional<pybind11::gil_scoped_release> unlocked;
    if (PyGILState_Check()) unlocked.emplace();
    delete owner;
  }
};

}  // namespace headrace
