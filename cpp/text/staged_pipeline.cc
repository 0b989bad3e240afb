#include "text/staged_pipeline.h"

#include <algorithm>

namespace headrace {

struct StagedPipeline::Scratch : Pipeline::Scratch {
  size_t text_bytes() const override { return whole.own_bytes() + part.own_bytes() + pieces.capacity(); }
  void forget_text() override {
    whole = {};
    part = {};
    pieces = {};
    spans = {};
  }

  AlignedText whole;
  AlignedText part;
  std::vector<Piece> pieces;
  std::vector<Piece> spans;
  std::unique_ptr<SubwordModel::Scratch> model;
};

// One text on its way.
class StagedPipeline::Run {
 public:
  Run(const StagedPipeline& owner, std::string_view text, const SpecialsAllowed& specials, Scratch& scratch,
      Encoding* encoding)
      : owner_(owner), text_(text), specials_(specials), scratch_(scratch), encoding_(encoding) {}

  void run() {
    scratch_.ids.clear();
    int32_t character = 0;
    size_t counted = 0;
    // Pieces come in order but for white space that two tokens claim, and are counted once.
    const auto character_at = [&](size_t byte) {
      const auto count = [&](size_t first, size_t last) {
        int32_t characters = 0;
        for (size_t i = first; i < last; ++i) characters += (static_cast<uint8_t>(text_[i]) & 0xC0) != 0x80;
        return characters;
      };
      character += byte >= counted ? count(counted, byte) : -count(byte, counted);
      counted = byte;
      return character;
    };
    owner_.raw_added_.split(text_, specials_, [&](size_t begin, size_t end, const AddedToken* token) {
      const std::string_view stretch = text_.substr(begin, end - begin);
      // Without offsets only whether a stretch begins the text matters.
      const int32_t first = encoding_ || guards_normalized() ? character_at(begin) : (begin == 0 ? 0 : 1);
      if (token) {
        added(*token, stretch, {first, encoding_ ? character_at(end) : 0});
      } else {
        scratch_.whole.assign(stretch, encoding_ != nullptr || guards_normalized(), first);
        normalize();
      }
    });
  }

 private:
  void normalize() {
    AlignedText& whole = scratch_.whole;
    if (owner_.normalizer_) owner_.normalizer_->apply(whole);
    if (owner_.normalized_added_.empty()) return split(whole);
    const std::string_view bytes = whole.bytes();
    owner_.normalized_added_.split(
        bytes, specials_in(whole), [&](size_t begin, size_t end, const AddedToken* token) {
          if (token) {
            added(*token, bytes.substr(begin, end - begin), offsets_of(whole, begin, end));
          } else {
            scratch_.part.assign_part(whole, begin, end);
            split(scratch_.part);
          }
        });
  }

  bool guards_normalized() const { return !specials_.guarded.empty() && !owner_.normalized_added_.empty(); }

  // The guarded bytes of the text as bytes of its normalized form.
  SpecialsAllowed specials_in(const AlignedText& whole) {
    if (specials_.guarded.empty()) return specials_;
    std::vector<int32_t> characters;
    int32_t character = -1;
    auto next = specials_.guarded.begin();
    for (size_t i = 0; i < text_.size() && next != specials_.guarded.end(); ++i) {
      character += (static_cast<uint8_t>(text_[i]) & 0xC0) != 0x80;
      if (*next == i) characters.push_back(character), ++next;
    }
    guarded_.clear();
    for (size_t i = 0; i < whole.origins().size(); ++i)
      if (std::binary_search(characters.begin(), characters.end(), whole.origins()[i]))
        guarded_.push_back(static_cast<uint32_t>(i));
    return {specials_.anywhere, guarded_};
  }

  void split(AlignedText& text) {
    if (text.bytes().empty()) return;
    std::vector<Piece>& pieces = scratch_.pieces;
    pieces.assign(1, {0, static_cast<uint32_t>(text.bytes().size())});
    if (owner_.pre_tokenizer_) owner_.pre_tokenizer_->split(text, pieces);
    std::vector<Piece>* const spans = encoding_ ? &scratch_.spans : nullptr;
    if (spans) spans->clear();
    const size_t first = scratch_.ids.size();
    owner_.model_->encode(text.bytes(), pieces, *scratch_.model, scratch_.ids, spans);
    if (spans) place(text, first);
  }

  // Spans of the text become offsets; tokens that stand for other text than their own are spelled.
  void place(const AlignedText& text, size_t first) {
    for (size_t i = 0; i < scratch_.spans.size(); ++i) {
      const Piece span = scratch_.spans[i];
      encoding_->offsets.push_back(offsets_of(text, span.begin, span.end));
      if (owner_.model_->spells_unknown(scratch_.ids[first + i]))
        encoding_->spellings.push_back({static_cast<int32_t>(first + i),
                                        std::string(text.bytes().substr(span.begin, span.end - span.begin))});
    }
  }

  static std::pair<int32_t, int32_t> offsets_of(const AlignedText& text, size_t begin, size_t end) {
    if (!text.tracked() || begin == end) return {0, 0};
    const int32_t first = text.origins()[begin];
    const int32_t last = text.origins()[end - 1];
    return {first == AlignedText::kNoOrigin ? 0 : first, last == AlignedText::kNoOrigin ? 0 : last + 1};
  }

  void added(const AddedToken& token, std::string_view spelling, std::pair<int32_t, int32_t> offsets) {
    *scratch_.ids.reserve(1) = token.id;
    scratch_.ids.added(1);
    if (!encoding_) return;
    if (spelling != owner_.vocabulary_.token(token.id))
      encoding_->spellings.push_back({static_cast<int32_t>(scratch_.ids.size() - 1), std::string(spelling)});
    encoding_->offsets.push_back(offsets);
  }

  const StagedPipeline& owner_;
  const std::string_view text_;
  const SpecialsAllowed specials_;
  Scratch& scratch_;
  Encoding* const encoding_;
  std::vector<uint32_t> guarded_;  // of the normalized text
};

StagedPipeline::StagedPipeline(AddedTokens raw_added, AddedTokens normalized_added,
                               std::unique_ptr<Normalizer> normalizer,
                               std::unique_ptr<PreTokenizer> pre_tokenizer,
                               std::unique_ptr<SubwordModel> model, const Vocabulary& vocabulary)
    : raw_added_(std::move(raw_added)),
      normalized_added_(std::move(normalized_added)),
      normalizer_(std::move(normalizer)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      model_(std::move(model)),
      vocabulary_(vocabulary) {}

std::unique_ptr<Pipeline::Scratch> StagedPipeline::make_scratch() const {
  auto scratch = std::make_unique<Scratch>();
  scratch->model = model_->make_scratch();
  return scratch;
}

void StagedPipeline::run(std::string_view text, const SpecialsAllowed& specials, Pipeline::Scratch& scratch,
                         Encoding* encoding) const {
  Run(*this, text, specials, static_cast<Scratch&>(scratch), encoding).run();
}

}  // namespace headrace
