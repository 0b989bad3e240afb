// Reads the first line as a regular expression and matches it in the rest: an Error, or matches in order that
// agree however they are asked for.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "text/regex.h"

namespace {

using headrace::Piece;
using headrace::Regex;

void require(bool holds) {
  if (!holds) std::abort();
}

void match(const Regex& regex, std::string_view text) {
  std::vector<Piece> all, matches, between;
  const Piece whole = {0, static_cast<uint32_t>(text.size())};
  regex.append_pieces(text, whole, Regex::kAll, all);
  regex.append_pieces(text, whole, Regex::kMatches, matches);
  regex.append_pieces(text, whole, Regex::kBetween, between);
  require(all.size() == matches.size() + between.size());
  uint32_t at = 0;
  for (const Piece piece : all) {
    require(piece.begin == at && piece.begin < piece.end);
    at = piece.end;
  }
  require(at == text.size());
  size_t begin = 0;
  size_t end = 0;
  const bool found = regex.find(text, 0, &begin, &end);
  require(!found || (begin <= end && end <= text.size()));
  require(found || matches.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t newline = std::min(input.find('\n'), size);
  const std::string_view text = input.substr(std::min(newline + 1, size));
  if (newline > 200 || headrace::utf8_first_invalid(text) != text.size()) return 0;
  try {
    match(Regex(input.substr(0, newline)), text);
  } catch (const headrace::Error& error) {
    require(error.kind() == headrace::ErrorKind::kCorruptFile ||
            error.kind() == headrace::ErrorKind::kUnsupported);
    require(!error.message().empty());
  }
  return 0;
}
