#include "text/normalize_sentencepiece.h"

#include <cstring>

#include "base/utf8.h"

namespace headrace {

// The new text grows apart from the old one, since spaces at its end are taken back.
class SentencePieceNormalizer::Pass {
 public:
  Pass(const SentencePieceNormalizer& owner, AlignedText& text)
      : owner_(owner), config_(owner.config_), text_(text), input_(text.bytes()) {}

  void run() {
    if (config_.remove_extra_whitespaces) skip_leading();
    if (at_ < input_.size()) {
      made_.reserve(input_.size() + input_.size() / 2 + 8);
      if (!config_.whitespace_as_suffix && config_.add_dummy_prefix) put(owner_.space_);
      rewrite();
      if (config_.remove_extra_whitespaces)
        while (made_.ends_with(owner_.space_)) made_.resize(made_.size() - owner_.space_.size());
      at_ = input_.size() - 1;
      if (config_.whitespace_as_suffix && config_.add_dummy_prefix) put(owner_.space_);
    }
    AlignedText::Rewrite out(text_);
    int32_t* origins = nullptr;
    std::memcpy(out.extend(made_.size(), &origins), made_.data(), made_.size());
    for (size_t i = 0; origins && i < made_.size(); ++i) origins[i] = text_.origins()[sources_[i]];
    out.finish();
  }

 private:
  void skip_leading() {
    while (at_ < input_.size()) {
      const Prefix next = owner_.prefix(input_.substr(at_));
      if (next.replacement != " ") return;
      at_ += next.length;
    }
  }

  void rewrite() {
    bool after_space = config_.remove_extra_whitespaces;
    while (at_ < input_.size()) {
      if (is_plain()) {
        const bool is_space = input_[at_] == ' ';
        if (!is_space) {
          put(input_.substr(at_, 1));
        } else if (!after_space) {
          put(owner_.space_);
        }
        after_space = is_space && config_.remove_extra_whitespaces;
        ++at_;
        continue;
      }
      auto [replacement, length] = owner_.prefix(input_.substr(at_));
      while (after_space && replacement.starts_with(' ')) replacement.remove_prefix(1);
      for (size_t i = 0; i < replacement.size(); ++i)
        put(replacement[i] == ' ' ? owner_.space_ : replacement.substr(i, 1));
      // What is replaced by nothing leaves it as it was.
      if (!replacement.empty()) after_space = replacement.back() == ' ';
      after_space = after_space && config_.remove_extra_whitespaces;
      at_ += length;
    }
  }

  bool is_plain() const {
    const auto byte = static_cast<uint8_t>(input_[at_]);
    if (byte >= 0x80 || !owner_.is_plain_[byte]) return false;
    return at_ + 1 == input_.size() || static_cast<uint8_t>(input_[at_ + 1]) < 0x80;
  }

  void put(std::string_view bytes) {
    made_ += bytes;
    if (text_.tracked()) {
      sources_.resize(made_.size() - bytes.size());  // some of them may have been taken back
      sources_.resize(made_.size(), static_cast<uint32_t>(at_));
    }
  }

  const SentencePieceNormalizer& owner_;
  const Config& config_;
  AlignedText& text_;
  const std::string_view input_;
  size_t at_ = 0;
  std::string made_;
  std::vector<uint32_t> sources_;  // by byte of made_, when tracked: the byte of the input it stems from
};

SentencePieceNormalizer::SentencePieceNormalizer(Config config)
    : config_(std::move(config)), space_(config_.escape_whitespaces ? "\xE2\x96\x81" : " ") {
  std::vector<ByteTrie::Entry> entries;
  for (uint8_t byte = 0; byte < is_plain_.size(); ++byte)
    is_plain_[byte] = !config_.charsmap || config_.charsmap->keeps_ascii(byte);
  for (const std::string& symbol : config_.user_defined) {
    entries.push_back({symbol, 0, 0});
    if (const auto first = static_cast<uint8_t>(symbol[0]); first < is_plain_.size())
      is_plain_[first] = false;
  }
  user_defined_ = ByteTrie(entries, 1);
  user_defined_.forget_edges();
}

SentencePieceNormalizer::Prefix SentencePieceNormalizer::prefix(std::string_view text) const {
  if (size_t length = 0; user_defined_.longest_match(text, 0, &length) >= 0)
    return {text.substr(0, length), length};
  if (config_.charsmap) {
    if (const auto entry = config_.charsmap->longest_entry(text)) return {entry->replacement, entry->length};
  }
  const size_t length = utf8_sequence_length(text, 0);
  return {text.substr(0, length), length};
}

void SentencePieceNormalizer::apply(AlignedText& text) const { Pass(*this, text).run(); }

}  // namespace headrace
