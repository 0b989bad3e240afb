#include "text/merges_json.h"

#include <string>

#include "base/error.h"

namespace headrace {
namespace {

class MergesReader {
 public:
  MergesReader(JsonValue merges, const Vocabulary& vocabulary, size_t prefix_bytes)
      : merges_(merges), vocabulary_(vocabulary), prefix_bytes_(prefix_bytes) {}

  std::vector<MergeTable::Merge> read() {
    if (!merges_.is_array()) merges_.fail("model.merges must be an array");
    read_.reserve(merges_.size());
    if (merges_.size() == 0) return {};
    const bool are_strings = (*merges_.items().begin()).is_string();
    for (const JsonValue merge : merges_.items()) {
      if (merge.is_string() != are_strings)
        merges_.fail("model.merges must be all strings or all pairs of strings");
      if (are_strings) {
        take_line(merge.as_string());
      } else {
        take_pair(merge);
      }
      if (num_taken_ == kBlock) add_taken();
    }
    add_taken();
    return std::move(read_);
  }

 private:
  static constexpr size_t kBlock = 128;  // merges whose tokens are looked up together

  size_t number() const { return read_.size() + num_taken_; }

  void take_line(std::string_view line) {
    if (line.starts_with("#version")) return;  // the first line of a merges.txt
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
      merges_.fail(concat("model.merges, merge ", number(), " '", line,
                          "': must be two tokens with a space between them"));
    take(line.substr(0, space), line.substr(space + 1));
  }

  void take_pair(JsonValue pair) {
    if (!pair.is_array() || pair.size() != 2)
      merges_.fail(concat("model.merges, merge ", number(), ": must be two tokens"));
    auto item = pair.items().begin();
    const std::string_view left = (*item).as_string();
    ++item;
    take(left, (*item).as_string());
  }

  void take(std::string_view left, std::string_view right) {
    if (right.size() < prefix_bytes_)
      merges_.fail(concat("model.merges, merge ", number(), ": '", right,
                          "' is shorter than continuing_subword_prefix"));
    taken_[num_taken_ * 2] = left;
    taken_[num_taken_ * 2 + 1] = right;
    ++num_taken_;
  }

  void add_taken() {
    int32_t ids[kBlock * 2];
    vocabulary_.find_all({taken_, num_taken_ * 2}, ids);
    const size_t count = num_taken_;
    num_taken_ = 0;
    for (size_t i = 0; i < count; ++i) {
      for (size_t part = i * 2; part < i * 2 + 2; ++part)
        if (ids[part] < 0) fail_unknown(taken_[part]);
      const std::string_view rest = taken_[i * 2 + 1].substr(prefix_bytes_);
      read_.push_back({ids[i * 2], ids[i * 2 + 1], result(taken_[i * 2], rest)});
    }
  }

  // Files list merges in the order of the tokens they make, so the last one's or the next is likely it.
  int32_t result(std::string_view left, std::string_view rest) {
    const int32_t last = read_.empty() ? 0 : read_.back().result;
    if (spells(last + 1, left, rest)) return last + 1;
    if (spells(last, left, rest)) return last;
    joined_.assign(left).append(rest);
    const int32_t id = vocabulary_.find(joined_);
    if (id < 0) fail_unknown(joined_);
    return id;
  }

  bool spells(int32_t id, std::string_view left, std::string_view rest) const {
    const std::string_view token = vocabulary_.token(id);
    return !token.empty() && token.size() == left.size() + rest.size() && token.starts_with(left) &&
           token.ends_with(rest);
  }

  [[noreturn]] void fail_unknown(std::string_view token) const {
    merges_.fail(
        concat("model.merges, merge ", read_.size(), ": the token '", token, "' is not in model.vocab"));
  }

  JsonValue merges_;
  const Vocabulary& vocabulary_;
  size_t prefix_bytes_;
  std::vector<MergeTable::Merge> read_;
  std::string_view taken_[kBlock * 2];  // left and right parts
  size_t num_taken_ = 0;
  std::string joined_;
};

}  // namespace

std::vector<MergeTable::Merge> read_merges(JsonValue merges, const Vocabulary& vocabulary,
                                           size_t prefix_bytes) {
  return MergesReader(merges, vocabulary, prefix_bytes).read();
}

}  // namespace headrace
