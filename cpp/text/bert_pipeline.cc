#include "text/bert_pipeline.h"

#include <array>

#include "base/utf8.h"
#include "text/split.h"
#include "text/word_cache.h"

namespace headrace {
namespace {

constexpr std::array<uint8_t, 256> kIdentityMap = [] {
  std::array<uint8_t, 256> map{};
  for (size_t i = 0; i < 256; ++i) map[i] = static_cast<uint8_t>(i);
  return map;
}();

}  // namespace

struct BertPipeline::Scratch : Pipeline::Scratch {
  size_t text_bytes() const override { return normalized.text.capacity(); }
  void forget_text() override { normalized = {}; }

  NormalizedText normalized;
  WordCache cache;
};

// One pass over one text: the ids of its own tokens go to scratch.ids. Offsets are worked out after each
// word, from the bytes that its pieces cover, and cost nothing when they are not asked for.
template <bool kOffsets>
class BertPipeline::Run {
 public:
  // encoding: null unless kOffsets; its offsets and spellings are filled.
  Run(const BertPipeline& owner, std::string_view text, const SpecialsAllowed& specials, Scratch& scratch,
      Encoding* encoding)
      : owner_(owner),
        text_(text),
        specials_(specials),
        ids_(scratch.ids),
        normalized_(scratch.normalized),
        cache_(scratch.cache),
        encoding_(encoding) {
    ids_.clear();
  }

  void run() {
    owner_.raw_added_.split(text_, specials_, [&](size_t begin, size_t end, const AddedToken* token) {
      const int64_t first_character = character_at(begin);
      if (token) {
        added(*token, text_.substr(begin, end - begin), first_character, character_at(end));
      } else if (owner_.normalized_added_.empty() && owner_.split_words_) {
        split_raw(begin, end, first_character);
      } else {
        normalized_.clear();
        owner_.normalizer_.append(text_.substr(begin, end - begin), kOffsets, first_character, normalized_);
        find_normalized_added();
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
    last_character_ += byte >= last_byte_ ? count(last_byte_, byte) : -count(byte, last_byte_);
    last_byte_ = byte;
    return last_character_;
  }

  // Text without added tokens, from byte begin to end. Words of ASCII letters and digits are looked up where
  // they stand. Anything else is taken up to the next character that ends a word whatever is before it.
  void split_raw(size_t begin, size_t end, int64_t first_character) {
    int64_t to_character = first_character - static_cast<int64_t>(begin);
    size_t at = begin;
    size_t length = 0;
    while (at < end) {
      const size_t from = at;
      const auto origin = [&](size_t byte) {
        return static_cast<int32_t>(static_cast<int64_t>(from + byte) + to_character);
      };
      switch (class_at(at)) {
        case Ascii::kSpace:
        case Ascii::kDropped:
          ++at;
          continue;
        case Ascii::kPunctuation:
          *ids_.reserve(1) = owner_.ascii_ids_[static_cast<uint8_t>(text_[at++])];
          finish_word(1, 1, origin);
          continue;
        case Ascii::kWord: {
          const WordKey key =
              ascii_word_key(text_.data() + at, end - at, owner_.normalizer_.config().lowercase);
          at += key.size;
          if (key.size < WordKey::kMaxBytes && (at == end || is_boundary(at, &length))) {
            look_up(text_.substr(from, key.size), key, owner_.normalizer_.ascii_map(), origin);
            continue;
          }
          break;
        }
        case Ascii::kNotAscii:
          break;
      }
      const bool only_ascii_words = skip_to_boundary(&at, end);
      if (at == from) {
        to_character += boundary(&at, origin);
      } else if (only_ascii_words) {
        look_up(text_.substr(from, at - from), owner_.normalizer_.ascii_map(), origin);
      } else {
        to_character += stretch(from, at, to_character);
      }
    }
  }

  Ascii class_at(size_t at) const {
    return owner_.normalizer_.ascii_class()[static_cast<uint8_t>(text_[at])];
  }

  const CharInfo& info_at(size_t at, size_t* length) const {
    const auto byte = static_cast<uint8_t>(text_[at]);
    *length = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    return char_info(utf8_decode(text_.data() + at, *length));
  }

  // Whether text may be cut on both sides of the character at a byte. *length: its bytes.
  bool is_boundary(size_t at, size_t* length) const {
    *length = 1;
    const Ascii ascii = class_at(at);
    if (ascii != Ascii::kNotAscii) return ascii == Ascii::kSpace || ascii == Ascii::kPunctuation;
    return owner_.normalizer_.is_boundary(info_at(at, length));
  }

  // Moves *at to the next boundary. Returns whether all that was passed is in the class kWord.
  bool skip_to_boundary(size_t* at, size_t end) const {
    bool only_ascii_words = true;
    for (size_t length = 0; *at < end && !is_boundary(*at, &length); *at += length)
      only_ascii_words = only_ascii_words && class_at(*at) == Ascii::kWord;
    return only_ascii_words;
  }

  // A boundary beyond ASCII, behind which *at is moved. Like stretch, returns how far characters fall behind
  // bytes.
  template <typename Origin>
  int64_t boundary(size_t* at, const Origin& origin) {
    size_t length = 0;
    const size_t from = *at;
    const bool is_word = !info_at(from, &length).has(CharInfo::kSpace);
    *at += length;
    const std::string_view word = text_.substr(from, length);
    if (is_word) look_up(word, word_key(word), kIdentityMap.data(), [&](size_t) { return origin(0); });
    return 1 - static_cast<int64_t>(length);
  }

  // Text between boundaries that has to be normalized. Returns by how much the distance from byte to
  // character grows: characters less bytes.
  int64_t stretch(size_t from, size_t to, int64_t to_character) {
    const std::string_view raw = text_.substr(from, to - from);
    const bool is_cached = !kOffsets && raw.size() <= WordKey::kMaxBytes;
    WordKey key{};
    if (is_cached) {
      key = word_key(raw, true);
      if (const size_t num_ids = cache_.find(key, ids_.reserve(WordCache::kMaxPieces))) {
        ids_.added(num_ids);
        return 0;  // characters are not counted
      }
    }
    const size_t first = ids_.size();
    normalized_.clear();
    const int64_t characters =
        owner_.normalizer_.append(raw, kOffsets, static_cast<int64_t>(from) + to_character, normalized_);
    split_normalized(0, normalized_.text.size());
    if (is_cached) cache_.insert(key, ids_.data() + first, ids_.size() - first);
    return characters - static_cast<int64_t>(raw.size());
  }

  void find_normalized_added() {
    const std::string_view text = normalized_.text;
    // Guarded bytes are those of the text as given: where there are any, its normalized form has no specials.
    const SpecialsAllowed specials{specials_.anywhere && specials_.guarded.empty()};
    owner_.normalized_added_.split(text, specials, [&](size_t begin, size_t end, const AddedToken* token) {
      if (!token) {
        split_normalized(begin, end);
      } else if constexpr (kOffsets) {
        added(*token, text.substr(begin, end - begin), normalized_.origins[begin],
              int64_t{normalized_.origins[end - 1]} + 1);
      } else {
        added(*token, {}, 0, 0);
      }
    });
  }

  void split_normalized(size_t begin, size_t end) {
    const std::string_view text = std::string_view(normalized_.text).substr(begin, end - begin);
    const auto one_word = [&](size_t from, size_t to) {
      const std::string_view word = text.substr(from, to - from);
      const auto origin = [&](size_t byte) {
        return kOffsets ? normalized_.origins[begin + from + byte] : 0;
      };
      if (word.size() <= WordKey::kMaxBytes) {
        look_up(word, word_key(word), kIdentityMap.data(), origin);
      } else {
        look_up(word, kIdentityMap.data(), origin);
      }
    };
    if (owner_.split_words_) {
      split_bert(text, one_word);
    } else if (!text.empty()) {
      one_word(0, text.size());
    }
  }

  void added(const AddedToken& token, std::string_view spelling, int64_t begin, int64_t end) {
    *ids_.reserve(1) = token.id;
    ids_.added(1);
    if constexpr (kOffsets) {
      if (spelling != owner_.vocabulary_.token(token.id))
        encoding_->spellings.push_back({static_cast<int32_t>(ids_.size() - 1), std::string(spelling)});
      encoding_->offsets.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(end)});
    }
  }

  // One word, by the cache; origin(byte) is the number of the character that a byte of it stems from.
  template <typename Origin>
  void look_up(std::string_view word, const WordKey& key, const uint8_t* byte_map, const Origin& origin) {
    int32_t* const ids = ids_.reserve(WordKey::kMaxBytes);
    size_t num_ids = cache_.find(key, ids);
    if (num_ids == 0) {
      num_ids = owner_.model_.look_up(word, byte_map, ids);
      cache_.insert(key, ids, num_ids);
    }
    finish_word(word.size(), num_ids, origin);
  }

  // One word that is too long for the cache.
  template <typename Origin>
  void look_up(std::string_view word, const uint8_t* byte_map, const Origin& origin) {
    int32_t* const ids = ids_.reserve(owner_.model_.max_ids(word.size()));
    finish_word(word.size(), owner_.model_.look_up(word, byte_map, ids), origin);
  }

  template <typename Origin>
  void finish_word(size_t word_bytes, size_t num_ids, const Origin& origin) {
    const size_t first = ids_.size();
    ids_.added(num_ids);
    if constexpr (kOffsets) {
      size_t begin = 0;
      for (size_t i = first; i < ids_.size(); ++i) {
        const size_t size = num_ids == 1 ? word_bytes : owner_.model_.piece_bytes(ids_[i], i == first);
        encoding_->offsets.push_back({origin(begin), origin(begin + size - 1) + 1});
        begin += size;
      }
    }
  }

  const BertPipeline& owner_;
  const std::string_view text_;
  const SpecialsAllowed specials_;
  IdBuffer& ids_;
  NormalizedText& normalized_;
  WordCache& cache_;
  Encoding* const encoding_;
  size_t last_byte_ = 0;
  int64_t last_character_ = 0;
};

BertPipeline::BertPipeline(AddedTokens raw_added, AddedTokens normalized_added, BertNormalizer normalizer,
                           bool split_words, WordPiece model, const Vocabulary& vocabulary)
    : raw_added_(std::move(raw_added)),
      normalized_added_(std::move(normalized_added)),
      normalizer_(std::move(normalizer)),
      split_words_(split_words),
      model_(std::move(model)),
      vocabulary_(vocabulary) {
  for (size_t i = 0; i < ascii_ids_.size(); ++i) {
    const auto character = static_cast<char>(i);
    model_.look_up({&character, 1}, normalizer_.ascii_map(), &ascii_ids_[i]);
  }
}

std::unique_ptr<Pipeline::Scratch> BertPipeline::make_scratch() const { return std::make_unique<Scratch>(); }

void BertPipeline::run(std::string_view text, const SpecialsAllowed& specials, Pipeline::Scratch& scratch,
                       Encoding* encoding) const {
  auto& own = static_cast<Scratch&>(scratch);
  if (encoding) {
    Run<true>(*this, text, specials, own, encoding).run();
  } else {
    Run<false>(*this, text, specials, own, nullptr).run();
  }
}

}  // namespace headrace
