#include "text/source_sentencepiece.h"

#include <cstring>

#include "base/error.h"
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
  SpaceRules spaces{.remove_extra = true};
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
  }
}

void read_normalizer(ProtoMessage message, SpaceRules& spaces) {
  while (message.next()) {
    if (message.is(2, ProtoMessage::kBytes)) spaces.charsmap = message.bytes();
    if (message.is(3, ProtoMessage::kVarint)) spaces.add_prefix = message.number() != 0;
    if (message.is(4, ProtoMessage::kVarint)) spaces.remove_extra = message.number() != 0;
    if (message.is(5, ProtoMessage::kVarint)) spaces.escape = message.number() != 0;
  }
}

}  // namespace

std::string tokenizer_json_from_sentencepiece(std::string_view bytes, const std::string& name) {
  ModelFile file;
  ProtoMessage model(bytes, name);
  while (model.next()) {
    if (model.is(1, ProtoMessage::kBytes)) file.pieces.push_back(read_piece(model.message(), name));
    if (model.is(2, ProtoMessage::kBytes)) read_trainer(model.message(), file);
    if (model.is(3, ProtoMessage::kBytes)) read_normalizer(model.message(), file.spaces);
  }
  constexpr uint64_t kUnigram = 1;
  constexpr uint64_t kBpe = 2;
  if (file.model_type != kUnigram && file.model_type != kBpe)
    throw Error(ErrorKind::kUnsupported, concat(name, ": SentencePiece model type ", file.model_type,
                                                " is not supported; supported: unigram (1), bpe (2)"));
  if (file.space_as_suffix)
    throw Error(ErrorKind::kUnsupported, concat(name, ": treat_whitespace_as_suffix is not supported"));
  const PieceModel kind{.is_unigram = file.model_type == kUnigram, .byte_fallback = file.byte_fallback};
  return tokenizer_json_from_pieces(file.pieces, kind, file.spaces, name);
}

}  // namespace headrace
