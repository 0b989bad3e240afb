// The deleter of objects that own threads.
#pragma once

namespace headrace {

// A forked child leaves its parent's engine alone, at its own exit too.
struct DeleteWhereMade {
  template <typename Owner>
  void operator()(Owner* owner) const {
    if (owner->made_here()) delete owner;
  }
};

}  // namespace headrace
