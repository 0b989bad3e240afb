// SentencePiece's .model files -> tokenizer.json.
//
// What a tokenizer.json cannot say, and so differs from SentencePiece itself:
//  - Unigram sums are doubles here and floats there, and pieces are words (where no token holds a space but
//  in
//    front), not whole texts; so of ways of nearly equal worth another may be chosen.
//  - Text that spells a control token ("<s>") becomes that token; SentencePiece takes it as plain text. An
//    unused token is used.
//  - The character map is applied as the reference does, to whole clusters of characters first, and to
//    user-defined tokens, too.
//  - BPE: of two merges with one result the reference prefers one pair, SentencePiece the leftmost; and both
//    parts of a merge must be tokens. After a user-defined token in the text a dummy prefix is put again.
#pragma once

#include <string>
#include <string_view>

namespace headrace {

// bytes: the file; name: for messages. Ids are the file's own. No tokens are put around texts. Throws
// Error(kCorruptFile) for a file that contradicts itself and Error(kUnsupported) for the types WORD and CHAR
// and for white space as a suffix.
std::string tokenizer_json_from_sentencepiece(std::string_view bytes, const std::string& name);

}  // namespace headrace
