// Tokens back to text: the WordPiece decoder.
#pragma once

#include <string>
#include <string_view>

namespace headrace {

struct WordPieceDecoder {
  std::string prefix = "##";
  bool cleanup = true;  // undo the spaces that tokenizing English puts around punctuation

  // Appends one token's share of the text. The first token stands as it is; of the others those with the
  // prefix continue the word before them, the rest begin a new one.
  void append(std::string_view token, bool is_first, std::string& text) const;
};

}  // namespace headrace
