#include "text/normalize_bert.h"

#include "text/ascii_run.h"

namespace headrace {

void BertStage::apply(AlignedText& text) const {
  NormalizedText result;
  normalizer_.append(text.bytes(), true, 0, result);
  if (result.text == text.bytes()) return;

  // Characters of the text are met in rising order.
  AlignedText::Rewrite out(text);
  const std::string_view new_bytes = result.text;
  size_t source = 0;
  int32_t character = 0;
  for (size_t begin = 0, end; begin < new_bytes.size(); begin = end) {
    end = begin + 1;
    while (end < new_bytes.size() && result.origins[end] == result.origins[begin]) ++end;
    for (; character < result.origins[begin]; ++character) source += utf8_length(text.bytes()[source]);
    out.put(new_bytes.substr(begin, end - begin), source);
  }
  out.finish();
}

}  // namespace headrace
