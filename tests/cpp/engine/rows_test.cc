// Answers of several rows, pairs, windows, picked tokens: what a model is given, and where each answer goes.
// answer goes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "engine/engine.h"

namespace headrace {
namespace {

const std::string kDirectory = std::string(HEADRACE_GOLDEN) + "/tiny_bert";

// Answers two numbers a row: the token's id and 10 * its place in the sequence + its type. A sequence as a
// whole answers with its first token. Id 9 makes it answer with infinity.
class EchoModel final : public Model {
 public:
  explicit EchoModel(AnswerRows rows) {
    info_.task = "test";
    info_.rows = rows;
    info_.dimensions = 2;
    info_.max_tokens = 16;
    info_.vocabulary = 1000;
    info_.types = 2;
  }
  const ModelInfo& info() const override { return info_; }
  void reserve(int64_t, int) override {}
  void forward(const TokenBatch& batch, std::span<float* const> outputs, ThreadPool&) override {
    size_t next = 0;
    for (int64_t b = 0; b < batch.sequences(); ++b) {
      const int32_t begin = batch.cu_lengths[static_cast<size_t>(b)],
                    end = batch.cu_lengths[static_cast<size_t>(b) + 1];
      float* out = outputs[static_cast<size_t>(b)];
      const auto answer = [&](int32_t token) {
        const int32_t id = batch.ids[static_cast<size_t>(token)];
        *out++ = id == 9 ? std::numeric_limits<float>::infinity() : static_cast<float>(id);
        *out++ = static_cast<float>(10 * (token - begin) + batch.type(token));
      };
      if (info_.rows == AnswerRows::kSequence) answer(begin);
      for (int32_t token = begin; info_.rows == AnswerRows::kToken && token < end; ++token) answer(token);
      for (; next < batch.picked.size() && batch.picked[next] < end; ++next) answer(batch.picked[next]);
    }
  }

 private:
  ModelInfo info_;
};

class Rows : public testing::Test {
 protected:
  Rows() : engine_({.threads = 1}) {
    for (const auto& [name, rows] : {std::pair{"sequence", AnswerRows::kSequence},
                                     {"token", AnswerRows::kToken},
                                     {"picked", AnswerRows::kPicked}})
      engine_.add(name, Tokenizer::from_file(kDirectory + "/tokenizer.json"),
                  std::make_unique<EchoModel>(rows));
  }

  std::shared_ptr<Ticket> done(std::shared_ptr<Ticket> ticket) {
    EXPECT_TRUE(engine_.wait(*ticket, 5'000'000));
    return ticket;
  }
  std::shared_ptr<Ticket> run(const char* model, const std::vector<std::vector<int32_t>>& ids) {
    return done(engine_.submit(model, ids, SubmitOptions{}));
  }
  std::shared_ptr<Ticket> run(const char* model, const std::vector<TextInput>& inputs,
                              const SubmitOptions& options = {}) {
    return done(engine_.submit(model, inputs, options));
  }
  int32_t id(std::string_view token) { return *engine_.tokenizer("token")->token_id(token); }

  Engine engine_;
};

std::vector<float> numbers(const Ticket& ticket) {
  return {ticket.vectors(), ticket.vectors() + ticket.rows() * ticket.dimensions()};
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return error.message();
  }
  return "nothing was thrown";
}

TEST_F(Rows, one_for_each_sequence_token_or_picked_token) {
  const int32_t mask = id("[MASK]");
  const std::vector<std::vector<int32_t>> ids{{5, mask, 7}, {mask}, {6}, {mask, mask}};
  const auto m = static_cast<float>(mask);
  EXPECT_EQ(numbers(*run("sequence", ids)), (std::vector<float>{5, 0, m, 0, 6, 0, m, 0}));
  const auto token = run("token", ids);
  EXPECT_EQ(numbers(*token), (std::vector<float>{5, 0, m, 10, 7, 20, m, 0, 6, 0, m, 0, m, 10}));
  EXPECT_EQ(std::vector<int64_t>(token->row_starts().begin(), token->row_starts().end()),
            (std::vector<int64_t>{0, 3, 4, 5, 7}));
  const auto picked = run("picked", ids);
  EXPECT_EQ(numbers(*picked), (std::vector<float>{m, 10, m, 0, m, 0, m, 10}));
  EXPECT_EQ(std::vector<int64_t>(picked->row_starts().begin(), picked->row_starts().end()),
            (std::vector<int64_t>{0, 1, 2, 2, 4}));
}

TEST_F(Rows, a_pair_has_types_and_its_second_text_is_cut) {
  const auto ticket = run("token", std::vector<TextInput>{{"the mill", "water"}, {"a"}, {"a", "to"}});
  ASSERT_EQ(ticket->state(), Ticket::State::kDone);
  const std::vector<float> all = numbers(*ticket);
  // [CLS] the mill [SEP] water [SEP]: the second text and what is behind it are of type 1
  for (int64_t i = 0; i < ticket->row_starts()[1]; ++i)
    EXPECT_EQ(std::fmod(all[static_cast<size_t>(2 * i + 1)], 10.0f), i < 4 ? 0.0f : 1.0f) << i;
  for (int64_t i = ticket->row_starts()[1]; i < ticket->row_starts()[2]; ++i)
    EXPECT_EQ(std::fmod(all[static_cast<size_t>(2 * i + 1)], 10.0f), 0.0f);

  const std::string documents = "the mill the mill the mill the mill the mill the mill the mill the mill";
  const std::vector<TextInput> long_pair{{"water", documents}};
  EXPECT_NE(message_of([&] {
              run("token", long_pair, {.argument = "documents"});
            }).find("documents[0] has 20 tokens; this model takes at most 16"),
            std::string::npos);
  const auto cut = run("token", long_pair, {.truncate = true});
  EXPECT_EQ(cut->tokens(), 16);
  EXPECT_EQ(cut->truncated(), 1);
  EXPECT_EQ(cut->vectors()[2], static_cast<float>(id("water")));
  const std::vector<TextInput> no_room{{documents, "water"}};
  EXPECT_NE(message_of([&] {
              run("token", no_room, {.truncate = true, .first_argument = "query"});
            }).find("the query has 16 tokens; of 13"),
            std::string::npos);
}

TEST_F(Rows, windows_cover_a_long_text_and_share_the_stride) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += i % 2 == 0 ? "the " : "mill ";
  const auto ticket =
      run("token", std::vector<TextInput>{{text}, {"water"}}, {.stride = 4, .window_tokens = 10});
  ASSERT_EQ(ticket->state(), Ticket::State::kDone);
  std::vector<int> covered(40);
  int64_t rows = 0;
  for (const Window& window : ticket->windows()) {
    const auto length = static_cast<int64_t>(window.encoding.ids.size());
    EXPECT_LE(length, 10);
    EXPECT_TRUE(window.encoding.overflowing.empty());
    for (int64_t i = 0; i < length; ++i) {
      // Each row of the answer belongs to the window's token of the same number.
      EXPECT_EQ(ticket->vectors()[2 * (rows + i)],
                static_cast<float>(window.encoding.ids[static_cast<size_t>(i)]));
      if (window.input == 0 && window.encoding.sequence_ids[static_cast<size_t>(i)] == 0) {
        const auto [begin, end] = window.encoding.offsets[static_cast<size_t>(i)];
        ++covered[static_cast<size_t>((begin * 2 + 1) / 9)];
        EXPECT_EQ(text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
                  begin % 9 == 0 ? "the" : "mill");
      }
    }
    rows += length;
  }
  EXPECT_EQ(rows, ticket->rows());
  EXPECT_EQ(ticket->windows().back().input, 1);
  EXPECT_EQ(*std::min_element(covered.begin(), covered.end()), 1);
  EXPECT_EQ(*std::max_element(covered.begin(), covered.end()), 2);
  EXPECT_NE(message_of([&] {
              run("token", std::vector<TextInput>{{text}}, {.stride = 8, .window_tokens = 10});
            }).find("stride=8"),
            std::string::npos);
}

// The count that refuses windows before they are made is the number of tokens that they have.
TEST_F(Rows, windows_too_many_for_a_request_are_refused_before_they_are_made) {
  const auto words = [](int64_t count) {
    std::string text;
    for (int64_t i = 0; i < count; ++i) text += "the ";
    return text;
  };
  const auto submit = [&](int64_t limit, const std::vector<TextInput>& inputs, const SubmitOptions& options) {
    Engine engine({.threads = 1, .max_request_tokens = limit});
    engine.add("token", Tokenizer::from_file(kDirectory + "/tokenizer.json"),
               std::make_unique<EchoModel>(AnswerRows::kToken));
    return engine.submit("token", inputs, options)->tokens();
  };
  for (const int64_t count : {1, 7, 8, 9, 13, 14, 15, 60, 61})
    for (const int64_t stride : {0, 1, 4, 7})
      for (const bool is_pair : {false, true}) {
        if (is_pair && stride > 4) continue;  // three special tokens and the question leave 5
        const std::string text = words(count);
        const std::vector<TextInput> inputs{
            is_pair ? TextInput{.text = "the mill", .pair = text} : TextInput{.text = text},
            is_pair ? TextInput{.text = "the mill", .pair = text} : TextInput{.text = text}};
        const SubmitOptions options{.stride = stride, .window_tokens = 10};
        const int64_t tokens = submit(1 << 20, inputs, options);
        EXPECT_EQ(submit(tokens, inputs, options), tokens);
        const std::string said = message_of([&] { submit(tokens - 1, inputs, options); });
        EXPECT_NE(said.find(concat("input[1], read in windows of 10 tokens that share ", stride,
                                   ", would be ", tokens / 2, " tokens after ", tokens / 2)),
                  std::string::npos)
            << said << " " << count;
      }
  // 150 MB of windows, had they been made; the limit is the engine's own.
  const std::string text = words(300'000);
  const std::string said =
      message_of([&] { run("token", std::vector<TextInput>{{text}}, {.stride = 7, .window_tokens = 10}); });
  EXPECT_NE(said.find("would be 2999930 tokens; a request may have 1048576"), std::string::npos) << said;
}

TEST_F(Rows, only_the_mask_is_special_in_a_text) {
  const std::vector<std::string_view> texts{"the [MASK][SEP] [MASK] [PAD]"};
  const auto ticket = done(engine_.submit("picked", texts, SubmitOptions{}));
  ASSERT_EQ(ticket->state(), Ticket::State::kDone);
  EXPECT_EQ(ticket->rows(), 2);
  EXPECT_EQ(ticket->vectors()[1], 20.0f);  // behind [CLS] the
  const std::vector<std::string_view> without{"the mill"};
  EXPECT_NE(message_of([&] { engine_.submit("picked", without, SubmitOptions{}); }).find("has no [MASK]"),
            std::string::npos);
  const std::vector<std::string_view> too_far{"a a a a a a a a a a a a a a a a a [MASK]"};
  EXPECT_NE(message_of([&] {
              engine_.submit("picked", too_far, SubmitOptions{.truncate = true});
            }).find("within the part that is read"),
            std::string::npos);
}

TEST_F(Rows, infinity_fails_its_own_request_only) {
  const std::vector<std::vector<int32_t>> good{{5, 6}}, bad{{5}, {6, 9}};
  std::vector<std::shared_ptr<Ticket>> tickets;
  for (int i = 0; i < 20; ++i)
    tickets.push_back(engine_.submit("token", i % 4 == 1 ? bad : good, SubmitOptions{}));
  for (size_t i = 0; i < tickets.size(); ++i) {
    done(tickets[i]);
    if (i % 4 != 1) {
      EXPECT_EQ(tickets[i]->state(), Ticket::State::kDone);
      continue;
    }
    ASSERT_EQ(tickets[i]->state(), Ticket::State::kFailed);
    EXPECT_EQ(tickets[i]->error().kind(), ErrorKind::kInternal);
    EXPECT_EQ(tickets[i]->error().code(), "not_finite");
    EXPECT_NE(tickets[i]->error().message().find("input[1]"), std::string::npos);
  }
  EXPECT_EQ(engine_.metrics("token").failed, 5);
}

TEST(RowsLimits, an_answer_too_large_is_refused_before_it_is_allocated) {
  class Wide final : public Model {
   public:
    Wide() {
      info_.rows = AnswerRows::kToken;
      info_.dimensions = 1 << 20;
      info_.max_tokens = 16;
      info_.vocabulary = 1000;
    }
    const ModelInfo& info() const override { return info_; }
    void reserve(int64_t, int) override {}
    void forward(const TokenBatch&, std::span<float* const>, ThreadPool&) override {}

   private:
    ModelInfo info_;
  };
  Engine engine({.threads = 1});
  engine.add("wide", Tokenizer::from_file(kDirectory + "/tokenizer.json"), std::make_unique<Wide>());
  const std::vector<std::vector<int32_t>> ids(7, std::vector<int32_t>(10, 5));
  EXPECT_NE(
      message_of([&] { engine.submit("wide", ids, SubmitOptions{}); }).find("send it in several requests"),
      std::string::npos);
}

}  // namespace
}  // namespace headrace
