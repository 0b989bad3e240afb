#include "batch/turns.h"

#include <algorithm>

namespace headrace {

Tenant* Tenants::hold(const std::string& name) {
  Tenant& tenant = tenants_[name];
  ++tenant.holders;
  return &tenant;
}

void Tenants::drop(const std::string& name) {
  const auto at = tenants_.find(name);
  if (--at->second.holders == 0) tenants_.erase(at);
}

void Turns::join(Tenant* tenant) {
  const auto at = std::find_if(ring_.begin(), ring_.end(),
                               [&](const Waiting& waiting) { return waiting.tenant == tenant; });
  if (at == ring_.end())
    ring_.push_back({.tenant = tenant, .requests = 1});
  else
    ++at->requests;
}

void Turns::leave(Tenant* tenant, bool begun) {
  const auto at = std::find_if(ring_.begin(), ring_.end(),
                               [&](const Waiting& waiting) { return waiting.tenant == tenant; });
  Waiting left = *at;
  --left.requests;
  if (left.requests > 0 && !begun) {
    at->requests = left.requests;
    return;
  }
  ring_.erase(at);
  if (left.requests > 0) ring_.push_back(left);
}

}  // namespace headrace
