#include "text/decode.h"

#include <array>

namespace headrace {
namespace {

struct Replacement {
  std::string_view from;
  std::string_view to;
};

// The reference's list, in its order: each is applied to the whole token before the next.
constexpr std::array<Replacement, 11> kCleanups = {{{" .", "."},
                                                    {" ?", "?"},
                                                    {" !", "!"},
                                                    {" ,", ","},
                                                    {" ' ", "'"},
                                                    {" n't", "n't"},
                                                    {" 'm", "'m"},
                                                    {" do not", " don't"},
                                                    {" 's", "'s"},
                                                    {" 've", "'ve"},
                                                    {" 're", "'re"}}};

void replace_all(std::string& text, Replacement replacement) {
  size_t at = 0;
  while ((at = text.find(replacement.from, at)) != std::string::npos) {
    text.replace(at, replacement.from.size(), replacement.to);
    at += replacement.to.size();
  }
}

}  // namespace

void WordPieceDecoder::append(std::string_view token, bool is_first, std::string& text) const {
  std::string piece;
  if (is_first) {
    piece = token;
  } else if (token.starts_with(prefix)) {
    piece = token.substr(prefix.size());
  } else {
    piece = " ";
    piece += token;
  }
  if (cleanup)
    for (const Replacement& replacement : kCleanups) replace_all(piece, replacement);
  text += piece;
}

}  // namespace headrace
