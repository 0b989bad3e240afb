#include "http/plain_post.h"

#include <gtest/gtest.h>

#include <string>

namespace headrace {
namespace {

constexpr std::string_view kTarget = "/v1/embeddings";
constexpr size_t kMaxBody = 1000;

std::optional<PlainPost> match(std::string_view bytes) { return match_plain_post(bytes, kTarget, kMaxBody); }

// A request with these header lines, each without its CRLF, after the three that it needs.
std::string with(std::initializer_list<std::string_view> lines) {
  std::string text =
      "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4\r\n";
  for (const std::string_view line : lines) text.append(line).append("\r\n");
  return text + "\r\nbody";
}

std::string replaced(std::string text, std::string_view part, std::string_view by) {
  const size_t at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return text.replace(at, part.size(), by);
}

TEST(PlainPost, finds_the_body) {
  const std::string text = with({});
  const auto found = match(text);
  ASSERT_TRUE(found);
  EXPECT_EQ(text.substr(found->body, found->end - found->body), "body");
  EXPECT_EQ(found->end, text.size());
  EXPECT_TRUE(found->request_id.empty());
}

TEST(PlainPost, the_end_is_known_before_the_body_is_there_and_with_more_behind_it) {
  const std::string text = with({});
  const auto head_only = match(text.substr(0, text.size() - 4));
  ASSERT_TRUE(head_only);
  EXPECT_EQ(head_only->end, text.size());
  const std::string two = text + text;
  ASSERT_TRUE(match(two));
  EXPECT_EQ(match(two)->end, text.size());
}

TEST(PlainPost, ignores_fields_that_change_nothing) {
  const std::string text = with({"User-Agent: OpenAI/Python 2", "ACCEPT: */*", "authorization: Bearer k",
                                 "X-Request-ID:\t abc-1 ", "Connection: Keep-Alive", "x-empty:"});
  const auto found = match(text);  // what it found lies in the text
  ASSERT_TRUE(found);
  EXPECT_EQ(found->host, "x");
  EXPECT_EQ(found->request_id, "abc-1");
  EXPECT_EQ(found->authorization, "Bearer k");
  EXPECT_TRUE(match(replaced(with({}), "content-type: application/json", "Content-Type:Application/JSON")));
}

TEST(PlainPost, a_route_may_take_any_body) {
  const auto any = [](std::string_view bytes) {
    return match_plain_post(bytes, kTarget, kMaxBody, PlainBody::kAny);
  };
  const std::string text = with({"Inference-Header-Content-Length: 3"});
  ASSERT_TRUE(any(text));
  EXPECT_EQ(any(text)->json_length, "3");
  ASSERT_TRUE(match(text));
  EXPECT_TRUE(match(text)->json_length.empty());
  const std::string binary = replaced(text, "application/json", "application/octet-stream");
  EXPECT_TRUE(any(binary));
  EXPECT_FALSE(match(binary));
  EXPECT_TRUE(any(replaced(text, "content-type: application/json\r\n", "")));
  EXPECT_FALSE(any(with({"inference-header-content-length: 3", "inference-header-content-length: 4"})));
  EXPECT_FALSE(any(with({"inference-header-content-length:"})));
  EXPECT_FALSE(any(with({"content-type: text/plain"})));  // the second
}

TEST(PlainPost, leaves_the_unusual_to_others) {
  for (const char* const line :
       {"transfer-encoding: chunked", "Transfer-Encoding: identity", "expect: 100-continue", "upgrade: h2c",
        "connection: close", "connection: upgrade", "connection: keep-alive, te", "te: trailers",
        "trailer: x", "content-encoding: gzip", "proxy-connection: close", "http2-settings: x",
        "keep-alive: 5", "X-Request-Timeout-Ms: 50",
        // twice
        "host: x", "content-length: 4", "content-length: 5", "content-type: application/json",
        // not a field as the RFC writes it
        "transfer-encoding : chunked", " folded: x", "\tfolded", "no colon", ": no name", "na me: x",
        "na(me: x", "x: a\x01", "x: a\x7f", "x: \xc3\xa4", "x\xc3\xa4: a", "x: a\rb: c", "x: a\nb: c"})
    EXPECT_FALSE(match(with({line}))) << line;
  EXPECT_FALSE(match(with({"x-request-id: a", "x-request-id: b"})));
  EXPECT_FALSE(match(with({"authorization: Bearer a", "authorization: Bearer b"})));
  EXPECT_FALSE(match(with({"connection: keep-alive", "connection: keep-alive"})));
  EXPECT_FALSE(match(with({std::string_view("x: a\0b", 6)})));
}

TEST(PlainPost, needs_its_exact_line_and_fields) {
  const std::string text = with({});
  for (const auto& [part, by] : std::initializer_list<std::pair<std::string_view, std::string_view>>{
           {"POST", "post"},
           {"POST", "GET"},
           {"POST ", "POST  "},
           {"POST", "\r\nPOST"},
           {"/v1/embeddings", "/v1/embeddings/"},
           {"/v1/embeddings", "/v1/embeddings?a=b"},
           {"/v1/embeddings", "/v1/models"},
           {"/v1/embeddings", "http://x/v1/embeddings"},
           {"HTTP/1.1", "HTTP/1.0"},
           {"HTTP/1.1\r\n", "HTTP/1.1\n"},
           {"HTTP/1.1\r\n", "HTTP/1.1 \r\n"},
           {"host: x\r\n", ""},
           {"host: x\r\n", "host:\r\n"},
           {"content-type: application/json\r\n", ""},
           {"application/json", "text/plain"},
           {"application/json", "application/json; charset=utf-8"},
           {"content-length: 4\r\n", ""},
           {"length: 4", "length: "},
           {"length: 4", "length: +4"},
           {"length: 4", "length: -4"},
           {"length: 4", "length: 4, 4"},
           {"length: 4", "length: 0x4"},
           {"length: 4", "length: 4 4"},
           {"length: 4", "length: 1001"},
           {"length: 4", "length: 000000004"},
           {"length: 4", "length: 18446744073709551620"},
           {"\r\n\r\n", "\r\n\n"},
           {"\r\n\r\n", "\r\n\r"},
       })
    EXPECT_FALSE(match(replaced(text, part, by))) << part << " -> " << by;
}

TEST(PlainPost, a_head_that_is_not_complete_is_none) {
  const std::string text = with({"user-agent: x"});
  for (size_t length = 0; length < text.size() - 4; ++length) {
    const std::string cut = text.substr(0, length);  // a copy: reading beyond it would be seen
    EXPECT_FALSE(match(cut)) << length;
  }
}

TEST(PlainPost, a_long_head_is_left_to_others) {
  EXPECT_TRUE(match(with({"x: " + std::string(7000, 'a')})));
  EXPECT_FALSE(match(with({"x: " + std::string(9000, 'a')})));
}

}  // namespace
}  // namespace headrace
