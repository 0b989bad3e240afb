// Any bytes either are left to the general parser, or what was found lies where it says, within the limits,
// and whatever follows the head changes nothing.
#include <cstddef>
#include <cstdint>
#include <string>

#include "http/plain_post.h"

namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kMaxBody = 1000;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto found = headrace::match_plain_post(text, "/e", kMaxBody);
  if (!found) return 0;
  check(found->body <= headrace::kMaxPlainHead && found->body <= size);
  check(found->end >= found->body && found->end - found->body <= kMaxBody);
  const std::string head = text.substr(0, found->body);
  check(head.find("\r\n\r\n") == head.size() - 4);
  check(head.find(found->request_id) != std::string::npos);
  for (const std::string& other : {head, head + "\r\n\r\nPOST /e HTTP/1.1\r\n\r\n"}) {
    const auto again = headrace::match_plain_post(other, "/e", kMaxBody);
    check(again && again->body == found->body && again->end == found->end);
  }
  return 0;
}
