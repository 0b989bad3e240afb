// In any bytes, findings lie in order within the text, and a text cut anywhere gives what the whole gives.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "text/personal_data_stream.h"

namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

}  // namespace

// The first two bytes say how long the pieces are, the rest is the text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 2), size - 2);
  const auto kinds = headrace::kAllPersonalKinds | headrace::bit_of(headrace::PersonalKind::kPlaceholder);
  const auto whole = headrace::find_personal_data(text, kinds);
  size_t at = 0;
  for (const headrace::Finding& finding : whole) {
    check(finding.begin >= at && finding.end > finding.begin && finding.end <= text.size());
    check(finding.end - finding.begin <= headrace::kReachBehind + headrace::kReachAhead);
    at = finding.end;
  }
  headrace::PersonalDataStream stream(kinds);
  std::vector<headrace::Finding> found;
  std::string out;
  const auto take = [&](const headrace::PersonalDataStream::Released& released) {
    for (const headrace::Finding& finding : released.findings)
      found.push_back({finding.kind, finding.begin + out.size(), finding.end + out.size()});
    out += released.text;
  };
  for (size_t begin = 0, piece = 0; begin < text.size(); ++piece) {
    const size_t length = 1 + data[piece % 2] % 61;
    take(stream.feed(std::string_view(text).substr(begin, length)));
    begin += length;
  }
  take(stream.finish());
  check(out == text && found == whole);
  return 0;
}
