#include "text/decode_steps.h"

#include "text/ascii_run.h"

namespace headrace {

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  if (from.empty()) {
    for (size_t at = 0; at < text.size();) {
      const size_t length = utf8_length(text[at]);
      result.append(to).append(text.substr(at, length));
      at += length;
    }
    return result.append(to);
  }
  size_t done = 0;
  for (size_t at; (at = text.find(from, done)) != std::string_view::npos; done = at + from.size())
    result.append(text.substr(done, at - done)).append(to);
  return result.append(text.substr(done));
}

void WordPieceSteps::apply(std::vector<std::string>& tokens) const {
  bool is_first = true;
  for (std::string& token : tokens) {
    std::string text;
    decoder_.append(token, is_first, text);
    token = std::move(text);
    is_first = false;
  }
}

void MetaspaceDecoder::apply(std::vector<std::string>& tokens) const {
  bool is_first = true;
  for (std::string& token : tokens) {
    if (token.find(replacement_) != std::string::npos)
      token = replace_all(token, replacement_, is_first && is_prepended_ ? "" : " ");
    is_first = false;
  }
}

void WordEndDecoder::apply(std::vector<std::string>& tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
}

void FuseDecoder::apply(std::vector<std::string>& tokens) const {
  if (tokens.empty()) return tokens.emplace_back(), void();
  size_t size = 0;
  for (const std::string& token : tokens) size += token.size();
  tokens[0].reserve(size);
  for (size_t i = 1; i < tokens.size(); ++i) tokens[0] += tokens[i];
  tokens.resize(1);
}

void StripDecoder::apply(std::vector<std::string>& tokens) const {
  for (std::string& token : tokens) {
    const std::string_view text = token;
    size_t begin = 0;
    size_t end = text.size();
    for (int64_t i = 0; i < start_ && text.substr(begin).starts_with(content_); ++i) begin += content_.size();
    for (int64_t i = 0; i < stop_ && text.substr(0, end).ends_with(content_); ++i) end -= content_.size();
    // A token of nothing else may be taken from both sides at once, which the reference does not survive.
    token = begin < end ? std::string(text.substr(begin, end - begin)) : std::string();
  }
}

void ReplaceDecoder::apply(std::vector<std::string>& tokens) const {
  for (std::string& token : tokens) {
    Pattern::Matches matches(pattern_, token);
    size_t begin, end;
    if (!matches.next(&begin, &end)) continue;
    std::string result;
    size_t done = 0;
    do {
      result.append(token, done, begin - done).append(content_);
      done = end;
    } while (matches.next(&begin, &end));
    token = std::move(result.append(token, done));
  }
}

void CtcDecoder::apply(std::vector<std::string>& tokens) const {
  const WordPieceDecoder cleaner{"", true};
  std::vector<std::string> result;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && tokens[i] == tokens[i - 1]) continue;
    std::string text = replace_all(tokens[i], pad_token_, "");
    if (cleanup_) {
      std::string clean;
      cleaner.append(text, true, clean);
      text = replace_all(clean, word_delimiter_, " ");
    }
    if (!text.empty()) result.push_back(std::move(text));
  }
  tokens = std::move(result);
}

}  // namespace headrace
