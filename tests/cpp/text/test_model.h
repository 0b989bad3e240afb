// Subword models made of JSON, and what they make of pieces.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "text/subword_json.h"

namespace headrace {

struct TestToken {
  int32_t id;
  uint32_t begin;
  uint32_t end;

  bool operator==(const TestToken&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const TestToken& token) {
  return out << token.id << "[" << token.begin << ", " << token.end << ")";
}

class TestModel {
 public:
  explicit TestModel(const std::string& json, bool raw_bytes = false) {
    const JsonDocument document(json, "test");
    parts_ = read_model(document.root(), raw_bytes);
    scratch_ = parts_.model->make_scratch();
  }

  // The pieces' tokens, checked to be the same with and without spans and out of the cache.
  std::vector<TestToken> encode(const std::vector<std::string>& pieces) {
    std::string text;
    std::vector<Piece> places;
    for (const std::string& piece : pieces) {
      places.push_back(
          {static_cast<uint32_t>(text.size()), static_cast<uint32_t>(text.size() + piece.size())});
      text += piece;
    }
    std::vector<TestToken> tokens = encode(text, places, *parts_.model->make_scratch());
    EXPECT_EQ(encode(text, places, *scratch_), tokens);
    EXPECT_EQ(encode(text, places, *scratch_), tokens);
    return tokens;
  }
  std::vector<int32_t> ids(const std::vector<std::string>& pieces) {
    std::vector<int32_t> ids;
    for (const TestToken& token : encode(pieces)) ids.push_back(token.id);
    return ids;
  }

  const ModelParts& parts() const { return parts_; }

 private:
  std::vector<TestToken> encode(const std::string& text, const std::vector<Piece>& places,
                                SubwordModel::Scratch& scratch) {
    IdBuffer alone;
    parts_.model->encode(text, places, scratch, alone, nullptr);
    IdBuffer ids;
    std::vector<Piece> spans;
    parts_.model->encode(text, places, scratch, ids, &spans);
    EXPECT_EQ(ids.size(), spans.size());
    EXPECT_EQ(ids.size(), alone.size());
    std::vector<TestToken> tokens;
    for (size_t i = 0; i < ids.size() && i < spans.size(); ++i) {
      EXPECT_EQ(ids[i], alone[i]);
      tokens.push_back({ids[i], spans[i].begin, spans[i].end});
    }
    return tokens;
  }

  ModelParts parts_;
  std::unique_ptr<SubwordModel::Scratch> scratch_;
};

// The error that f() throws; fails when it throws none.
template <typename Function>
Error error_of(Function&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorKind::kInternal, "none");
}

}  // namespace headrace
