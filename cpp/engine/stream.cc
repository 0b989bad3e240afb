#include "engine/stream.h"

namespace headrace {

StreamNews Stream::take() {
  const std::lock_guard lock(mutex_);
  has_news_.store(false, std::memory_order_release);
  return std::exchange(news_, {});
}

void Stream::add(StreamNews news) {
  const std::lock_guard lock(mutex_);
  news_.text += news.text;
  for (Sampled& token : news.tokens) news_.tokens.push_back(std::move(token));
  if (!news.finish_reason.empty()) news_.finish_reason = std::move(news.finish_reason);
  if (news.error) news_.error = std::move(news.error);
  if (!news_.finish_reason.empty() || news_.error) ended_.store(true, std::memory_order_release);
  has_news_.store(true, std::memory_order_release);
}

}  // namespace headrace
