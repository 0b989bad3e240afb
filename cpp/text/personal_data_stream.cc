#include "text/personal_data_stream.h"

#include <algorithm>

namespace headrace {
namespace {

// Moves back to where a character begins, so that no release ends within one.
size_t character_begin(std::string_view text, size_t at) {
  for (int i = 0; i < 3 && at > 0 && at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80; ++i)
    --at;
  return at;
}

}  // namespace

PersonalDataStream::Released PersonalDataStream::feed(std::string_view piece) {
  const size_t seen = buffer_.size();
  buffer_ += piece;
  if (const size_t found = text_break(buffer_, std::max(break_, seen)); found != buffer_.npos) break_ = found;
  const size_t settled = buffer_.size() - std::min(buffer_.size(), kReachAhead);
  const size_t until = std::max(break_, settled);
  find_personal_data(buffer_, kinds_, until, place_, found_);
  if (until == break_) return release(break_);
  // Decisions to come may reach back.
  const size_t safe = std::max(until - std::min(until, kReachBehind), break_);
  return release(character_begin(buffer_, std::max(safe, place_.floor)));
}

PersonalDataStream::Released PersonalDataStream::finish() {
  find_personal_data(buffer_, kinds_, buffer_.size(), place_, found_);
  Released out = release(buffer_.size());
  *this = PersonalDataStream(kinds_);
  return out;
}

PersonalDataStream::Released PersonalDataStream::release(size_t until) {
  Released out;
  if (until <= released_) return out;
  // A finding is not cut: what begins in front of the end and goes on behind it waits.
  const auto whole =
      std::find_if(found_.begin(), found_.end(), [&](const Finding& f) { return f.end > until; });
  if (whole != found_.end()) until = std::min(until, whole->begin);
  if (until <= released_) return out;
  out.text = buffer_.substr(released_, until - released_);
  for (auto finding = found_.begin(); finding != whole; ++finding)
    out.findings.push_back({finding->kind, finding->begin - released_, finding->end - released_});
  found_.erase(found_.begin(), whole);
  released_ = until;

  // Keep what later decisions look back on; move it only when that pays.
  constexpr size_t kWorthMoving = 8192;
  const size_t drop = released_ - std::min(released_, kReachBehind + 8);
  if (drop >= kWorthMoving) {
    buffer_.erase(0, drop);
    released_ -= drop;
    break_ -= std::min(break_, drop);
    place_.at -= std::min(place_.at, drop);
    place_.floor -= std::min(place_.floor, drop);
    for (Finding& finding : found_) finding.begin -= drop, finding.end -= drop;
  }
  return out;
}

}  // namespace headrace
