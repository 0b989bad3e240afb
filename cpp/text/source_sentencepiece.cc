#include "text/source_sentencepiece.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/utf8.h"
#include "text/base64.h"
#include "text/json_writer.h"
#include "text/scored_pieces.h"

namespace headrace {
namespace {

// One message of Google's Protocol Buffers, field by field (encoding: protobuf.dev).
class ProtoMessage {
 public:
  enum Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  ProtoMessage(std::string_view bytes, const std::string& name) : left_(bytes), name_(name) {}

  // Goes to the next field; false at the end.
  bool next() {
    if (left_.empty()) return false;
    const uint64_t tag = varint();
    field_ = tag >> 3;
    wire_ = static_cast<uint32_t>(tag & 7);
    value_ = 0;
    switch (wire_) {
      case kVarint:
        value_ = varint();
        break;
      case kFixed64:
        take(8);
        break;
      case kFixed32:
        bytes_ = take(4);
        break;
      case kBytes:
        bytes_ = take(varint());
        break;
      default:
        fail("a field of unknown type");
    }
    return true;
  }

  // Whether this field is the one with that number; then it must have that type.
  bool is(uint64_t field, Wire wire) const {
    if (field_ != field) return false;
    if (wire_ != wire) fail("a field of another type than it must have");
    return true;
  }
  uint64_t number() const { return value_; }
  std::string_view bytes() const { return bytes_; }
  ProtoMessage message() const { return ProtoMessage(bytes_, name_); }
  float real() const {
    float value;
    std::memcpy(&value, bytes_.data(), sizeof value);
    return value;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Error(ErrorKind::kCorruptFile, concat(name_, ": not a SentencePiece model: ", what));
  }

  std::string_view take(uint64_t count) {
    if (count > left_.size()) fail("the file ends too early");
    const std::string_view taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    fail("a number of more than ten bytes");
  }

  std::string_view left_;
  const std::string& name_;
  uint64_t field_ = 0;
  uint32_t wire_ = 0;
  uint64_t value_ = 0;
  std::string_view bytes_;
};

struct ModelFile {
  std::vector<ScoredPiece> pieces;
  uint64_t model_type = 1;
  bool byte_fallback = false;
  bool space_as_suffix = false;
  std::string_view unk_surface = " \xE2\x81\x87 ";
  std::string_view charsmap;
  bool add_prefix = true;
  bool remove_extra = true;
  bool escape = true;
};

ScoredPiece read_piece(ProtoMessage message, const std::string& name) {
  ScoredPiece piece;
  while (message.next()) {
    if (message.is(1, ProtoMessage::kBytes)) piece.text = message.bytes();
    if (message.is(2, ProtoMessage::kFixed32)) piece.score = message.real();
    if (message.is(3, ProtoMessage::kVarint)) {
      if (message.number() < 1 || message.number() > 6)
        throw Error(ErrorKind::kCorruptFile, concat(name, ": a piece of unknown type ", message.number()));
      piece.type = static_cast<ScoredPiece::Type>(message.number());
    }
  }
  return piece;
}

void read_trainer(ProtoMessage message, ModelFile& file) {
  while (message.next()) {
    if (message.is(3, ProtoMessage::kVarint)) file.model_type = message.number();
    if (message.is(24, ProtoMessage::kVarint)) file.space_as_suffix = message.number() != 0;
    if (message.is(35, ProtoMessage::kVarint)) file.byte_fallback = message.number() != 0;
    if (message.is(44, ProtoMessage::kBytes)) file.unk_surface = message.bytes();
  }
}

void read_normalizer(ProtoMessage message, ModelFile& file) {
  while (message.next()) {
    if (message.is(2, ProtoMessage::kBytes)) file.charsmap = message.bytes();
    if (message.is(3, ProtoMessage::kVarint)) file.add_prefix = message.number() != 0;
    if (message.is(4, ProtoMessage::kVarint)) file.remove_extra = message.number() != 0;
    if (message.is(5, ProtoMessage::kVarint)) file.escape = message.number() != 0;
  }
}

bool has_charsmap(ProtoMessage normalizer) {
  while (normalizer.next())
    if (normalizer.is(2, ProtoMessage::kBytes) && !normalizer.bytes().empty()) return true;
  return false;
}

const char* json_bool(bool value) { return value ? "true" : "false"; }

// As one JSON list: what item() says of each piece that is chosen().
template <typename Chosen, typename Item>
std::string list_of(const std::vector<ScoredPiece>& pieces, Chosen&& chosen, Item&& item) {
  std::string items;
  JsonList list(items);
  for (size_t i = 0; i < pieces.size(); ++i)
    if (chosen(pieces[i])) list.next() += item(i);
  return items;
}

void make_canonical(const CanonicalText& canonical, const ModelFile& file, const std::string& name,
                    TokenizerJson& json) {
  constexpr std::string_view kEnd = "</s>";
  const auto end = std::find_if(file.pieces.begin(), file.pieces.end(),
                                [&](const ScoredPiece& piece) { return piece.text == kEnd; });
  if (end == file.pieces.end())
    throw Error(ErrorKind::kCorruptFile,
                concat(name, ": SigLIP ends texts with </s>, which is no piece of it"));
  const NamedToken behind[] = {{kEnd, static_cast<int32_t>(end - file.pieces.begin())}};
  json.post_processor = json_template({}, behind);
  const auto replace = [](const char* kind, std::string_view pattern, std::string_view content) {
    return concat("{\"type\":\"Replace\",\"pattern\":{\"", kind, "\":", json_string(pattern),
                  "},\"content\":", json_string(content), "},");
  };
  json.normalizer =
      concat("{\"type\":\"Sequence\",\"normalizers\":[", replace("String", "\xE2\x96\x81", " "),
             canonical.lowercase ? "{\"type\":\"Lowercase\"}," : "",
             replace("Regex", R"([!-/:-@\[-`{-~])", ""), replace("Regex", R"(\s+)", " "),
             "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true},", json.normalizer, "]}");
}

std::string write_json(const ModelFile& file, int32_t unk_id, bool is_unigram, const std::string& name,
                       const std::optional<CanonicalText>& canonical) {
  const auto& pieces = file.pieces;
  const auto text = [&](size_t i) { return json_string(pieces[i].text); };
  const auto is = [](ScoredPiece::Type type) {
    return [type](const ScoredPiece& piece) { return piece.type == type; };
  };
  TokenizerJson json;
  json.added_tokens = list_of(pieces, is(ScoredPiece::kControl), [&](size_t i) {
    return json_added_token(static_cast<int32_t>(i), pieces[i].text, true);
  });
  json.normalizer =
      concat("{\"type\":\"SentencePiece\",\"add_dummy_prefix\":", json_bool(file.add_prefix || canonical),
             ",\"remove_extra_whitespaces\":", json_bool(file.remove_extra),
             ",\"escape_whitespaces\":", json_bool(file.escape),
             ",\"treat_whitespace_as_suffix\":", json_bool(file.space_as_suffix),
             ",\"user_defined_symbols\":[", list_of(pieces, is(ScoredPiece::kUserDefined), text),
             "],\"precompiled_charsmap\":\"", base64_encode(file.charsmap), "\"}");
  if (canonical) make_canonical(*canonical, file, name, json);
  json.decoder = concat("{\"type\":\"SentencePiece\",\"unk_token\":", text(static_cast<size_t>(unk_id)),
                        ",\"unk_surface\":", json_string(file.unk_surface),
                        ",\"byte_fallback\":", json_bool(file.byte_fallback),
                        ",\"add_dummy_prefix\":", json_bool(file.add_prefix),
                        ",\"remove_extra_whitespaces\":", json_bool(file.remove_extra), "}");
  json.model =
      concat("{\"type\":\"SentencePiece\",\"algorithm\":\"", is_unigram ? "unigram" : "bpe",
             "\",\"byte_fallback\":", json_bool(file.byte_fallback), ",\"vocab\":[",
             list_of(
                 pieces, [](const ScoredPiece&) { return true; },
                 [&](size_t i) {
                   return concat("[", text(i), ",", json_number(static_cast<double>(pieces[i].score)), ",",
                                 static_cast<int>(pieces[i].type), "]");
                 }),
             "]}");
  return json.text();
}

}  // namespace

std::string tokenizer_json_from_sentencepiece(std::string_view bytes, const std::string& name,
                                              const std::optional<CanonicalText>& canonical) {
  ModelFile file;
  ProtoMessage model(bytes, name);
  while (model.next()) {
    if (model.is(1, ProtoMessage::kBytes)) file.pieces.push_back(read_piece(model.message(), name));
    if (model.is(2, ProtoMessage::kBytes)) read_trainer(model.message(), file);
    if (model.is(3, ProtoMessage::kBytes)) read_normalizer(model.message(), file);
    if (model.is(5, ProtoMessage::kBytes) && has_charsmap(model.message()))
      throw Error(ErrorKind::kUnsupported, concat(name,
                                                  ": rules that change decoded text (denormalizer_spec) "
                                                  "are not supported; train the model without them"));
  }
  constexpr uint64_t kUnigram = 1;
  constexpr uint64_t kBpe = 2;
  if (file.model_type != kUnigram && file.model_type != kBpe)
    throw Error(ErrorKind::kUnsupported, concat(name, ": SentencePiece model type ", file.model_type,
                                                " is not supported; supported: unigram (1), bpe (2)"));
  if (utf8_first_invalid(file.unk_surface) != file.unk_surface.size())
    throw Error(ErrorKind::kCorruptFile, concat(name, ": unk_surface is not UTF-8"));
  const int32_t unk_id = check_pieces(file.pieces, name);
  return write_json(file, unk_id, file.model_type == kUnigram, name, canonical);
}

}  // namespace headrace
