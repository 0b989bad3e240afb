#include "text/tokenizer.h"

#include "base/error.h"
#include "base/utf8.h"
#include "text/split.h"
#include "text/tokenizer_parts.h"

namespace headrace {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;

constexpr std::array<uint8_t, 256> kIdentityMap = [] {
  std::array<uint8_t, 256> map{};
  for (size_t i = 0; i < 256; ++i) map[i] = static_cast<uint8_t>(i);
  return map;
}();

// Working memory of one thread. After a giant text it is given back.
class Scratch {
 public:
  static NormalizedText& get() {
    thread_local NormalizedText scratch;
    constexpr size_t kKeepBytes = size_t{1} << 20;
    if (scratch.text.capacity() > kKeepBytes) scratch = NormalizedText();
    scratch.clear();
    return scratch;
  }
};

void check_text(std::string_view text) {
  if (text.size() > kMaxTextBytes)
    throw Error(ErrorKind::kInvalidArgument, concat("the text has ", text.size(), " bytes; at most ",
                                                    kMaxTextBytes, " are allowed; split it into parts"));
  const size_t bad = utf8_first_invalid(text);
  if (bad != text.size())
    throw Error(ErrorKind::kInvalidArgument,
                concat("the text is not UTF-8: byte ", bad, " of ", text.size(),
                       " begins no valid character; decode the text with its own encoding first"));
}

}  // namespace

// One pass over one text. Ids go straight to the caller's vector; offsets are worked out after each word,
// from the bytes that its pieces cover, and cost nothing when they are not asked for.
template <bool kOffsets>
class Tokenizer::Run {
 public:
  Run(const Tokenizer& owner, std::string_view text, bool allow_special, std::vector<int32_t>& ids,
      Encoding* encoding)
      : owner_(owner),
        text_(text),
        allow_special_(allow_special),
        ids_(ids),
        encoding_(encoding),
        scratch_(Scratch::get()) {}

  void run() {
    owner_.raw_added_.split(text_, allow_special_, [&](size_t begin, size_t end, const AddedToken* token) {
      const int64_t first_character = character_at(begin);
      if (token) {
        added(*token, text_.substr(begin, end - begin), first_character, character_at(end));
      } else if (owner_.normalized_added_.empty() && owner_.split_words_) {
        words(begin, end, first_character);
      } else {
        scratch_.clear();
        owner_.normalizer_.append(text_.substr(begin, end - begin), kOffsets, first_character, scratch_);
        normalized();
      }
    });
  }

 private:
  using Ascii = BertNormalizer::Ascii;

  // The number of the character at a byte of the text, counted from where it was asked for last.
  int64_t character_at(size_t byte) {
    if (!kOffsets) return 0;
    const auto count = [&](size_t first, size_t last) {
      int64_t characters = 0;
      for (size_t i = first; i < last; ++i) characters += (static_cast<uint8_t>(text_[i]) & 0xC0) != 0x80;
      return characters;
    };
    at_character_ += byte >= at_byte_ ? count(at_byte_, byte) : -count(byte, at_byte_);
    at_byte_ = byte;
    return at_character_;
  }

  // Text without added tokens, from byte begin to end. Words of ASCII letters are looked up where they stand;
  // a stretch with anything else in it is normalized as far as the next ASCII space or punctuation, which
  // bounds a word whatever is before it.
  void words(size_t begin, size_t end, int64_t first_character) {
    const auto& ascii = owner_.normalizer_.ascii_class();
    const auto class_at = [&](size_t at) { return ascii[static_cast<uint8_t>(text_[at])]; };
    int64_t to_character = first_character - static_cast<int64_t>(begin);
    size_t at = begin;
    while (at < end) {
      const Ascii first = class_at(at);
      if (first == Ascii::kSpace || first == Ascii::kDropped) {
        ++at;
        continue;
      }
      const size_t from = at++;
      if (first != Ascii::kPunctuation) {
        Ascii next = first;
        while (next == Ascii::kWord && at < end && (next = class_at(at)) == Ascii::kWord) ++at;
        if (next == Ascii::kDropped || next == Ascii::kNotAscii) {
          while (at < end && class_at(at) != Ascii::kSpace && class_at(at) != Ascii::kPunctuation) ++at;
          to_character += stretch(from, at, to_character);
          continue;
        }
      }
      word(text_.substr(from, at - from), owner_.normalizer_.ascii_map(), [&](size_t byte) {
        return static_cast<int32_t>(static_cast<int64_t>(from + byte) + to_character);
      });
    }
  }

  // Returns by how much the distance from byte to character grows: characters less bytes.
  int64_t stretch(size_t from, size_t to, int64_t to_character) {
    scratch_.clear();
    const int64_t characters = owner_.normalizer_.append(text_.substr(from, to - from), kOffsets,
                                                         static_cast<int64_t>(from) + to_character, scratch_);
    split_normalized(0, scratch_.text.size());
    return characters - static_cast<int64_t>(to - from);
  }

  // The normalized text in scratch_: added tokens, then words.
  void normalized() {
    owner_.normalized_added_.split(
        scratch_.text, allow_special_, [&](size_t begin, size_t end, const AddedToken* token) {
          if (!token) {
            split_normalized(begin, end);
          } else if constexpr (kOffsets) {
            added(*token, std::string_view(scratch_.text).substr(begin, end - begin), scratch_.origins[begin],
                  scratch_.origins[end - 1] + 1);
          } else {
            ids_.push_back(token->id);
          }
        });
  }

  void split_normalized(size_t begin, size_t end) {
    const std::string_view text = std::string_view(scratch_.text).substr(begin, end - begin);
    const auto one_word = [&](size_t from, size_t to) {
      word(text.substr(from, to - from), kIdentityMap.data(),
           [&](size_t byte) { return kOffsets ? scratch_.origins[begin + from + byte] : 0; });
    };
    if (owner_.split_words_) {
      split_bert(text, one_word);
    } else if (!text.empty()) {
      one_word(0, text.size());
    }
  }

  void added(const AddedToken& token, std::string_view spelling, int64_t begin, int64_t end) {
    ids_.push_back(token.id);
    if constexpr (kOffsets) {
      if (spelling != owner_.token(token.id))
        encoding_->spellings.push_back({static_cast<int32_t>(ids_.size() - 1), std::string(spelling)});
      offset(static_cast<int32_t>(begin), static_cast<int32_t>(end));
    }
  }

  // One word; origin(byte) is the number of the character that a byte of it stems from.
  template <typename Origin>
  void word(std::string_view bytes, const uint8_t* byte_map, Origin&& origin) {
    const size_t mark = ids_.size();
    const bool covered = owner_.model_.append_ids(bytes, byte_map, ids_);
    if constexpr (kOffsets) {
      size_t begin = 0;
      for (size_t i = mark; i < ids_.size(); ++i) {
        const size_t size = covered ? owner_.model_.piece_bytes(ids_[i], i == mark) : bytes.size();
        offset(origin(begin), origin(begin + size - 1) + 1);
        begin += size;
      }
    }
  }

  void offset(int32_t begin, int32_t end) { encoding_->offsets.push_back({begin, end}); }

  const Tokenizer& owner_;
  std::string_view text_;
  bool allow_special_;
  std::vector<int32_t>& ids_;
  Encoding* encoding_;  // null unless kOffsets
  NormalizedText& scratch_;
  size_t at_byte_ = 0;
  int64_t at_character_ = 0;
};

Tokenizer::Tokenizer(Parts parts)
    : vocabulary_(std::move(parts.vocabulary)),
      is_special_(std::move(parts.is_special)),
      raw_added_(std::move(parts.raw_added)),
      normalized_added_(std::move(parts.normalized_added)),
      normalizer_(std::move(parts.normalizer)),
      split_words_(parts.split_words),
      model_(std::move(parts.model)),
      template_(std::move(parts.token_template)),
      decoder_(std::move(parts.decoder)) {}

template <bool kOffsets>
int64_t Tokenizer::encode_into(std::string_view text, const EncodeOptions& options, std::vector<int32_t>& out,
                               Encoding* encoding) const {
  const int64_t num_specials = options.add_special_tokens ? special_tokens_count() : 0;
  if (options.max_tokens < 0 || (options.max_tokens > 0 && options.max_tokens < num_specials))
    throw Error(ErrorKind::kInvalidArgument,
                concat("max_tokens=", options.max_tokens, ": must be at least ", num_specials,
                       ", the number of special tokens, or 0 for no limit"));
  check_text(text);

  if (options.add_special_tokens)
    for (const auto& special : template_.before) out.push_back(special.id);
  const size_t first = out.size();
  if constexpr (kOffsets) encoding->offsets.resize(first);  // (0, 0) for specials; out is empty at the call
  Run<kOffsets>(*this, text, options.allow_special, out, encoding).run();

  const auto num_own = static_cast<int64_t>(out.size() - first);
  if (options.max_tokens > 0 && num_own > options.max_tokens - num_specials)
    out.resize(first + static_cast<size_t>(options.max_tokens - num_specials));
  if (options.add_special_tokens)
    for (const auto& special : template_.behind) out.push_back(special.id);
  return num_own + num_specials;
}

int64_t Tokenizer::encode_ids(std::string_view text, const EncodeOptions& options,
                              std::vector<int32_t>& out) const {
  return encode_into<false>(text, options, out, nullptr);
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  Encoding result;
  result.num_tokens = encode_into<true>(text, options, result.ids, &result);
  const size_t before = options.add_special_tokens ? template_.before.size() : 0;
  const size_t behind = options.add_special_tokens ? template_.behind.size() : 0;
  const size_t own_end = result.ids.size() - behind;
  result.offsets.resize(own_end);
  result.offsets.resize(result.ids.size());
  result.type_ids.assign(result.ids.size(), template_.type_id);
  result.special_mask.assign(result.ids.size(), 0);
  for (size_t i = 0; i < before; ++i) {
    result.type_ids[i] = template_.before[i].type_id;
    result.special_mask[i] = 1;
  }
  for (size_t i = 0; i < behind; ++i) {
    result.type_ids[own_end + i] = template_.behind[i].type_id;
    result.special_mask[own_end + i] = 1;
  }
  std::erase_if(result.spellings,
                [&](const auto& spelling) { return spelling.index >= static_cast<int64_t>(own_end); });
  return result;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::string text;
  bool is_first = true;
  for (const int32_t id : ids) {
    if (!vocabulary_.contains(id)) continue;
    if (skip_special_tokens && is_special_[static_cast<size_t>(id)]) continue;
    if (decoder_) {
      decoder_->append(token(id), is_first, text);
    } else {
      if (!is_first) text.push_back(' ');
      text += token(id);
    }
    is_first = false;
  }
  return text;
}

}  // namespace headrace
