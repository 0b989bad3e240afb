// Whose turn it is to begin: tenants that wait go round, one request each, so that how many one of them has
// queued makes nobody else wait. (Nagle 1987, RFC 970: round robin over the queues of sources.) Pure logic.
//
//   turns.join(tenant)  ->  whose(): the tenant that comes next  ->  leave(tenant, true): it began, the
//   others come first
//
// A tenant that had nothing waiting comes behind those that have: each comes once before any comes twice.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>

namespace headrace {

// One tenant's share of what waits; lives as long as somebody holds it.
struct Tenant {
  int64_t holders = 0;
  int64_t waiting = 0;  // requests, of every priority
  int64_t tokens = 0;   // of their prompts
  int64_t reading = 0;  // the scheduler's, while it plans a step
};

class Tenants {
 public:
  // The tenant of that name; each hold() wants its drop(). The address stays.
  Tenant* hold(const std::string& name);
  void drop(const std::string& name);
  size_t size() const { return tenants_.size(); }

 private:
  std::unordered_map<std::string, Tenant> tenants_;
};

// The turns of one priority.
class Turns {
 public:
  void join(Tenant* tenant);
  // One of its requests waits no longer; begun: it had its turn.
  void leave(Tenant* tenant, bool begun);
  bool empty() const { return ring_.empty(); }
  // Those that wait, whose turn is next first.
  struct Waiting {
    Tenant* tenant;
    int64_t requests;
  };
  const std::deque<Waiting>& ring() const { return ring_; }

 private:
  std::deque<Waiting> ring_;
};

}  // namespace headrace
