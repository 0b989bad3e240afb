#include "text/word_level.h"

#include "base/error.h"

namespace headrace {

WordLevel::WordLevel(const Vocabulary& vocabulary, std::string unk_token)
    : unk_token_(std::move(unk_token)), unk_id_(vocabulary.find(unk_token_)) {
  tokens_.reserve(vocabulary.num_tokens());
  for (int32_t id = 0; id < vocabulary.size(); ++id)
    if (const std::string_view token = vocabulary.token(id); token.data() != nullptr) tokens_.add(token, id);
}

void WordLevel::encode(std::string_view text, std::span<const Piece> pieces, Scratch&, IdBuffer& ids,
                       std::vector<Piece>* spans) const {
  int32_t* out = ids.reserve(pieces.size());
  for (const Piece piece : pieces) {
    const std::string_view word = text.substr(piece.begin, piece.end - piece.begin);
    int32_t id = tokens_.find(word);
    if (id < 0) id = unk_id_;
    if (id < 0)
      throw Error(ErrorKind::kInvalidArgument,
                  concat("the text has a word that the vocabulary lacks, and its unknown token '", unk_token_,
                         "', too; use a model whose vocabulary has it"));
    *out++ = id;
  }
  ids.added(pieces.size());
  if (spans != nullptr) spans->insert(spans->end(), pieces.begin(), pieces.end());
}

}  // namespace headrace
