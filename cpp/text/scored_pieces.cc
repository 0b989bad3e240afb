#include "text/scored_pieces.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"
#include "text/base64.h"
#include "text/json_writer.h"
#include "text/vocabulary.h"

namespace headrace {
namespace {

constexpr char kSpace[] = "\xE2\x96\x81";
constexpr size_t kMaxPieceBytes = 512;  // each split of each piece is looked up

class PiecesToJson {
 public:
  PiecesToJson(const std::vector<ScoredPiece>& pieces, const std::string& name)
      : pieces_(pieces), name_(name) {
    if (pieces.size() > static_cast<size_t>(Vocabulary::kMaxId)) fail(0, "more than 16777215 pieces");
    vocabulary_.reserve(pieces.size());
    for (size_t i = 0; i < pieces.size(); ++i) take(i);
    if (unk_id_ < 0) throw Error(ErrorKind::kCorruptFile, concat(name_, ": there is no unknown token"));
  }

  std::string unigram(bool byte_fallback) const {
    std::string vocab;
    JsonList list(vocab);
    for (const ScoredPiece& piece : pieces_)
      list.next() += concat("[", json_string(piece.text), ",", json_number(unigram_score(piece)), "]");
    return concat("{\"type\":\"Unigram\",\"unk_id\":", unk_id_, ",\"vocab\":[", vocab,
                  "],\"byte_fallback\":", byte_fallback ? "true" : "false", "}");
  }

  std::string bpe(bool byte_fallback) const {
    std::string vocab;
    JsonList list(vocab);
    for (size_t i = 0; i < pieces_.size(); ++i) list.next() += concat(json_string(pieces_[i].text), ":", i);
    return concat("{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":",
                  json_string(pieces_[static_cast<size_t>(unk_id_)].text),
                  ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":true,"
                  "\"byte_fallback\":",
                  byte_fallback ? "true" : "false", ",\"ignore_merges\":false,\"vocab\":{", vocab,
                  "},\"merges\":[", merges(), "]}");
  }

  // user_defined: those, too; otherwise they are left to the model.
  std::string added_tokens(bool user_defined) const {
    std::string added;
    JsonList list(added);
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const ScoredPiece::Type type = pieces_[i].type;
      if (type == ScoredPiece::kUnknown || type == ScoredPiece::kControl ||
          (type == ScoredPiece::kUserDefined && user_defined))
        list.next() +=
            json_added_token(static_cast<int32_t>(i), pieces_[i].text, type != ScoredPiece::kUserDefined);
    }
    return added;
  }

  // Whether every space in a token is its first character, so that text may be split before each.
  bool spaces_only_begin() const {
    return std::all_of(pieces_.begin(), pieces_.end(), [](const ScoredPiece& piece) {
      return piece.type == ScoredPiece::kControl || piece.text.find(kSpace, 1) == std::string_view::npos;
    });
  }

 private:
  struct Split {
    float score;
    int32_t left;
    int32_t right;
    int32_t left_characters;
    int32_t right_characters;
  };

  // SentencePiece's bonus for user-defined tokens, which makes any way through one the best
  // (unigram_model.cc).
  double unigram_score(const ScoredPiece& piece) const {
    if (piece.type != ScoredPiece::kUserDefined) return static_cast<double>(piece.score);
    return static_cast<double>(static_cast<float>(piece.text.size()) * highest_) - 0.1;
  }

  static bool is_text(const ScoredPiece& piece) {
    return piece.type == ScoredPiece::kNormal || piece.type == ScoredPiece::kUnused;
  }

  [[noreturn]] void fail(size_t index, const char* what) const {
    throw Error(ErrorKind::kCorruptFile, concat(name_, ", piece ", index, ": ", what));
  }

  void take(size_t index) {
    const ScoredPiece& piece = pieces_[index];
    if (piece.text.empty() || piece.text.size() > kMaxPieceBytes) fail(index, "must have 1 to 512 bytes");
    if (utf8_first_invalid(piece.text) != piece.text.size()) fail(index, "is not UTF-8");
    if (!std::isfinite(piece.score)) fail(index, "its score is no number");
    if (!vocabulary_.add(piece.text, static_cast<int32_t>(index))) fail(index, "is there already");
    if (piece.type == ScoredPiece::kNormal) highest_ = std::max(highest_, piece.score);
    if (piece.type == ScoredPiece::kUnknown) {
      if (unk_id_ >= 0) fail(index, "is a second unknown token");
      unk_id_ = static_cast<int32_t>(index);
    }
  }

  // Each way to join two pieces to a third; the best third first, and then the longest left part, as the
  // reference's converter orders them.
  std::string merges() const {
    std::vector<Split> splits;
    for (size_t i = 0; i < pieces_.size(); ++i)
      if (is_text(pieces_[i])) add_splits(pieces_[i], splits);
    std::stable_sort(splits.begin(), splits.end(), [](const Split& a, const Split& b) {
      if (a.score != b.score) return a.score > b.score;
      if (a.left_characters != b.left_characters) return a.left_characters > b.left_characters;
      return a.right_characters > b.right_characters;
    });
    std::string text;
    JsonList list(text);
    for (const Split& split : splits)
      list.next() += concat("[", json_string(pieces_[static_cast<size_t>(split.left)].text), ",",
                            json_string(pieces_[static_cast<size_t>(split.right)].text), "]");
    return text;
  }

  void add_splits(const ScoredPiece& piece, std::vector<Split>& splits) const {
    const auto first = static_cast<ptrdiff_t>(splits.size());
    int32_t characters = 0;
    for (size_t at = utf8_sequence_length(piece.text, 0); at < piece.text.size();
         at += utf8_sequence_length(piece.text, at)) {
      ++characters;
      const int32_t left = text_piece(piece.text.substr(0, at));
      const int32_t right = left < 0 ? -1 : text_piece(piece.text.substr(at));
      if (right >= 0) splits.push_back({piece.score, left, right, characters, -characters});
    }
    for (auto split = splits.begin() + first; split != splits.end(); ++split)
      split->right_characters += characters + 1;
    std::sort(splits.begin() + first, splits.end(), [](const Split& a, const Split& b) {
      return a.left != b.left ? a.left < b.left : a.right < b.right;
    });
  }

  int32_t text_piece(std::string_view text) const {
    const int32_t id = vocabulary_.find(text);
    return id >= 0 && is_text(pieces_[static_cast<size_t>(id)]) ? id : -1;
  }

  const std::vector<ScoredPiece>& pieces_;
  const std::string& name_;
  Vocabulary vocabulary_;
  int32_t unk_id_ = -1;
  float highest_ = std::numeric_limits<float>::lowest();  // of the normal pieces' scores
};

std::string replace(std::string_view kind, std::string_view pattern, std::string_view content) {
  return concat("{\"type\":\"Replace\",\"pattern\":{\"", kind, "\":", json_string(pattern),
                "},\"content\":", json_string(content), "}");
}

std::string normalizer(const SpaceRules& spaces) {
  std::string steps;
  JsonList list(steps);
  if (!spaces.charsmap.empty())
    list.next() += concat("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"",
                          base64_encode(spaces.charsmap), "\"}");
  if (spaces.remove_extra) {
    list.next() += replace("Regex", " {2,}", " ");
    list.next() += replace("Regex", "\\A | \\z", "");
  }
  const char* const space = spaces.escape ? kSpace : " ";
  if (spaces.add_prefix) list.next() += concat("{\"type\":\"Prepend\",\"prepend\":\"", space, "\"}");
  if (spaces.escape) list.next() += replace("String", " ", kSpace);
  return concat("{\"type\":\"Sequence\",\"normalizers\":[", steps, "]}");
}

std::string decoder(const SpaceRules& spaces) {
  std::string steps;
  JsonList list(steps);
  if (spaces.escape) list.next() += replace("String", kSpace, " ");
  list.next() += "{\"type\":\"ByteFallback\"}";
  list.next() += "{\"type\":\"Fuse\"}";
  if (spaces.add_prefix) list.next() += "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}";
  return concat("{\"type\":\"Sequence\",\"decoders\":[", steps, "]}");
}

}  // namespace

std::string tokenizer_json_from_pieces(const std::vector<ScoredPiece>& pieces, const PieceModel& model,
                                       const SpaceRules& spaces, const std::string& name) {
  const PiecesToJson source(pieces, name);
  TokenizerJson json;
  json.added_tokens = source.added_tokens(!model.is_unigram);
  json.normalizer = normalizer(spaces);
  // BPE cuts text by itself.
  if (model.is_unigram && spaces.escape && source.spaces_only_begin())
    json.pre_tokenizer = concat("{\"type\":\"Split\",\"pattern\":{\"String\":\"", kSpace,
                                "\"},\"behavior\":\"MergedWithNext\",\"invert\":false}");
  json.decoder = decoder(spaces);
  json.post_processor = model.post_processor;
  json.model = model.is_unigram ? source.unigram(model.byte_fallback) : source.bpe(model.byte_fallback);
  return json.text();
}

}  // namespace headrace
