// BERT's vocab.txt -> tokenizer.json: one token a line, its id the line's number from 0.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace headrace {

// What tokenizer_config.json says besides (do_lower_case, strip_accents, tokenize_chinese_chars).
struct BertOptions {
  bool lowercase = true;
  std::optional<bool> strip_accents;  // nothing: as lowercase
  bool handle_chinese_chars = true;
};

// Of equal lines the last counts, as in the reference. [CLS] and [SEP] go around each text when both are
// there. name: of the file, for messages. Throws Error(kCorruptFile) for text that is not UTF-8 or lacks
// [UNK].
std::string tokenizer_json_from_vocab_txt(std::string_view text, const BertOptions& options,
                                          const std::string& name);

}  // namespace headrace
