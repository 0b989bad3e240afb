#include "engine/ticket.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace headrace {

uint64_t next_ticket_id() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

CompletionQueue::CompletionQueue() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (fd_ < 0)
    throw Error(ErrorKind::kInternal,
                concat("eventfd: ", std::strerror(errno), "; raise the limit of open files"));
}

CompletionQueue::~CompletionQueue() { close(fd_); }

std::vector<uint64_t> CompletionQueue::drain() {
  uint64_t count = 0;
  // Cleared before the list is taken: a push in between wakes the loop once more, and none is missed.
  (void)!read(fd_, &count, sizeof(count));
  std::vector<uint64_t> finished;
  const std::lock_guard lock(mutex_);
  finished.swap(finished_);
  return finished;
}

void CompletionQueue::push(uint64_t ticket) {
  const std::lock_guard lock(mutex_);
  finished_.push_back(ticket);
}

void CompletionQueue::wake() {
  const uint64_t one = 1;
  (void)!write(fd_, &one,
               sizeof(one));  // fails only when the counter is full, and then it is readable anyway
}

}  // namespace headrace
