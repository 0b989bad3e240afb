// Reads JSON (RFC 8259) into a flat array of nodes. Strict: no comments, no trailing commas, no NaN,
// well-formed UTF-8 only, one value and then nothing but white space. Depth and size are limited, so a
// hostile file costs at most a constant times its own length.
//
//   JsonDocument document("{\"hidden_size\": 384}", "config.json");
//   int64_t hidden = document.root().at("hidden_size").as_int(1, 1 << 20);
//
// Every accessor throws Error(kCorruptFile) that names the document, the expected type and the found one.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/pages.h"

namespace headrace {

enum class JsonType : uint8_t { kNull, kBool, kInt, kDouble, kString, kArray, kObject };

const char* json_type_name(JsonType type);

class JsonValue;

class JsonDocument {
 public:
  static constexpr int kMaxDepth = 64;

  // text must outlive the document: strings without escapes are views into it. name is used in messages only.
  JsonDocument(std::string_view text, std::string name);
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;

  JsonValue root() const;
  const std::string& name() const { return name_; }

 private:
  friend class JsonValue;
  friend class JsonParser;

  struct Node {
    JsonType type;
    uint32_t end;  // index one past the last node of this subtree
    union {
      bool boolean;
      int64_t integer;
      double number;
      const char* data;  // string: its bytes; owned by the text or by unescaped_
    };
    // String: bytes; array: items; object: members (each member is a string node, then its value); number:
    // where its text begins << 32 | how many bytes.
    uint64_t size;
  };

  std::string name_;
  std::string_view text_;
  PageVector<Node> nodes_;
  std::deque<std::string> unescaped_;  // strings that held escapes; a deque never moves its elements
};

// A handle to one value: two words, cheap to copy, valid as long as its document.
class JsonValue {
 public:
  JsonType type() const { return node().type; }
  bool is_null() const { return type() == JsonType::kNull; }
  bool is_string() const { return type() == JsonType::kString; }
  bool is_array() const { return type() == JsonType::kArray; }
  bool is_object() const { return type() == JsonType::kObject; }

  bool as_bool() const;
  int64_t as_int(int64_t low, int64_t high) const;  // an integer within [low, high]
  double as_double() const;                         // an integer or a fraction
  std::string_view number_text() const;             // the same, as it is written
  std::string_view as_string() const;

  // Array items or object members; 0 for other types.
  size_t size() const { return type() >= JsonType::kArray ? node().size : 0; }

  // The value of `key`: at() throws when it is missing, find() gives nothing. A repeated key yields the
  // first.
  JsonValue at(std::string_view key) const;
  std::optional<JsonValue> find(std::string_view key) const;

  // for (JsonValue item : value.items()) ...                       throws unless an array
  // for (auto [key, item] : value.members()) ...                   throws unless an object
  struct Member;
  class ItemRange;
  class MemberRange;
  ItemRange items() const;
  MemberRange members() const;

  // An Error(kCorruptFile) about this value: "<document>: <what>".
  [[noreturn]] void fail(const std::string& what) const;

 private:
  friend class JsonDocument;
  JsonValue(const JsonDocument* document, uint32_t index) : document_(document), index_(index) {}
  const JsonDocument::Node& node() const { return document_->nodes_[index_]; }
  [[noreturn]] void fail_type(const char* expected) const;

  const JsonDocument* document_;
  uint32_t index_;
};

struct JsonValue::Member {
  std::string_view key;
  JsonValue value;
};

class JsonValue::ItemRange {
 public:
  struct Iterator {
    JsonValue value;
    JsonValue operator*() const { return value; }
    Iterator& operator++() {
      value.index_ = value.node().end;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return value.index_ != other.value.index_; }
  };
  Iterator begin() const { return {JsonValue(parent_.document_, parent_.index_ + 1)}; }
  Iterator end() const { return {JsonValue(parent_.document_, parent_.node().end)}; }

 private:
  friend class JsonValue;
  explicit ItemRange(JsonValue parent) : parent_(parent) {}
  JsonValue parent_;
};

class JsonValue::MemberRange {
 public:
  struct Iterator {
    JsonValue key;
    Member operator*() const { return {key.as_string(), JsonValue(key.document_, key.index_ + 1)}; }
    Iterator& operator++() {
      key.index_ = JsonValue(key.document_, key.index_ + 1).node().end;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return key.index_ != other.key.index_; }
  };
  Iterator begin() const { return {JsonValue(parent_.document_, parent_.index_ + 1)}; }
  Iterator end() const { return {JsonValue(parent_.document_, parent_.node().end)}; }

 private:
  friend class JsonValue;
  explicit MemberRange(JsonValue parent) : parent_(parent) {}
  JsonValue parent_;
};

}  // namespace headrace
