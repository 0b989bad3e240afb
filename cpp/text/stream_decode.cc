#include "text/stream_decode.h"

#include <utility>

namespace headrace {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Ids without text of their own that are kept before the next: more cannot matter.
constexpr size_t kMostSilent = 8;
// A window that cannot be cut where a character ends is cut somewhere after this many ids; what waits in it
// are at most the three bytes of a character that may still be completed, so the last half is context enough.
constexpr size_t kLongestWindow = 64;

}  // namespace

StreamDecoder::StreamDecoder(Decode decode, IsByte is_byte)
    : decode_(std::move(decode)), is_byte_(std::move(is_byte)) {}

std::string StreamDecoder::push(int32_t id) {
  window_.push_back(id);
  if (is_byte_ && is_byte_(id)) {
    num_silent_ = 0;
    in_row_ = true;
    return {};
  }
  if (in_row_) {
    // A token that is skipped does not end a row. A space, which the first tokens of a text may lose, does.
    const int32_t behind_byte[] = {window_[window_.size() - 2], id};
    in_row_ = decode_(behind_byte) == decode_({behind_byte, 1});
    if (in_row_) {
      window_.pop_back();
      return {};
    }
  }
  std::string text = decode_(window_);
  if (is_silent(id, text)) {
    forget_silent();
    return {};
  }
  num_silent_ = 0;
  text_ = std::move(text);
  // The last bytes may be the beginning of a character.
  const bool is_open = text_.ends_with(kReplacement);
  std::string piece = hand_out(text_, text_.size() - (is_open ? kReplacement.size() : 0));
  if (!is_open || window_.size() > kLongestWindow) move_window();
  return piece;
}

std::string StreamDecoder::finish() {
  const std::string text = decode_(window_);
  std::string piece = hand_out(text, text.size());
  window_.clear();
  text_.clear();
  cut_ = num_silent_ = handed_out_ = 0;
  in_row_ = false;
  return piece;
}

std::string StreamDecoder::hand_out(const std::string& text, size_t certain) {
  if (certain <= handed_out_) return {};
  std::string piece = text.substr(handed_out_, certain - handed_out_);
  handed_out_ = certain;
  return piece;
}

// Special tokens that are skipped, padding: a stream may hold any number of them. An id that completes
// nothing yet is another matter, and so is a space that only the first token of a text loses.
bool StreamDecoder::is_silent(int32_t id, const std::string& text) const {
  if (text != text_ || window_.size() < 2) return false;
  if (!text.ends_with(kReplacement) && window_[window_.size() - 2] == id) return true;
  return decode_({&id, 1}).empty();
}

void StreamDecoder::forget_silent() {
  if (++num_silent_ <= kMostSilent) return;
  window_.erase(window_.end() - static_cast<ptrdiff_t>(num_silent_));
  --num_silent_;
}

// Leaves as context the ids since the last cut: they have text, so that the next id is not a first one.
void StreamDecoder::move_window() {
  const bool is_long = window_.size() > kLongestWindow;
  const size_t begin = is_long ? window_.size() - kLongestWindow / 2 : cut_;
  if (begin > 0 && begin < window_.size()) {
    std::string text = decode_(std::span<const int32_t>(window_).subspan(begin));
    if (text.empty()) return;
    const size_t waiting = text_.size() - handed_out_;
    window_.erase(window_.begin(), window_.begin() + static_cast<ptrdiff_t>(begin));
    text_ = std::move(text);
    handed_out_ = text_.size() < waiting ? 0 : text_.size() - waiting;
  }
  cut_ = window_.size();
}

}  // namespace headrace
