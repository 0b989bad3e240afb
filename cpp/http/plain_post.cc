#include "http/plain_post.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace headrace {
namespace {

constexpr std::string_view kMethod = "POST ";
constexpr std::string_view kVersion = " HTTP/1.1\r\n";

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

constexpr bool is_token(char c) {
  const char l = lower(c);
  return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

constexpr auto kIsToken = [] {
  std::array<bool, 256> table{};
  for (int c = 0; c < 128; ++c) table[static_cast<size_t>(c)] = is_token(static_cast<char>(c));
  return table;
}();

constexpr bool is_value(char c) { return (c >= ' ' && c <= '~') || c == '\t'; }

// `text` in any case against `lower_text`.
bool same(std::string_view text, std::string_view lower_text) {
  return std::equal(text.begin(), text.end(), lower_text.begin(), lower_text.end(),
                    [](char a, char b) { return lower(a) == b; });
}

std::string_view trimmed(std::string_view value) {
  const size_t first = value.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return value.substr(first, value.find_last_not_of(" \t") - first + 1);
}

// Fields that a general parser or the route behind it acts upon, and this one does not.
constexpr std::string_view kUnusual[] = {
    "transfer-encoding", "expect",           "upgrade",        "te",         "trailer",
    "content-encoding",  "proxy-connection", "http2-settings", "keep-alive", "x-request-timeout-ms",
};

// What must come once, or at most once.
struct Fields {
  PlainBody kind = PlainBody::kJson;
  std::string_view host, content_type, content_length, connection, request_id, authorization, json_length;

  // False when the field makes the request unusual.
  bool take(std::string_view name, std::string_view value) {
    if (same(name, "host")) return once(host, value);
    if (same(name, "content-type"))
      return (kind == PlainBody::kAny || same(value, "application/json")) && once(content_type, value);
    if (kind == PlainBody::kAny && same(name, "inference-header-content-length"))
      return once(json_length, value);
    if (same(name, "content-length")) return once(content_length, value);
    if (same(name, "connection")) return same(value, "keep-alive") && once(connection, value);
    if (same(name, "x-request-id")) return once(request_id, value);
    if (same(name, "authorization")) return once(authorization, value);
    return std::none_of(std::begin(kUnusual), std::end(kUnusual),
                        [&](std::string_view unusual) { return same(name, unusual); });
  }

 private:
  static bool once(std::string_view& kept, std::string_view value) {
    if (!kept.empty() || value.empty()) return false;
    kept = value;
    return true;
  }
};

std::optional<size_t> length_of(std::string_view digits, size_t max) {
  if (digits.empty() || digits.size() > 8) return std::nullopt;
  size_t length = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    length = length * 10 + static_cast<size_t>(c - '0');
  }
  if (length > max) return std::nullopt;
  return length;
}

}  // namespace

std::optional<PlainPost> match_plain_post(std::string_view bytes, std::string_view target,
                                          size_t max_body_bytes, PlainBody kind) {
  const std::string_view head = bytes.substr(0, kMaxPlainHead);
  size_t at = 0;
  for (const std::string_view expected : {kMethod, target, kVersion}) {
    if (!head.substr(at).starts_with(expected)) return std::nullopt;
    at += expected.size();
  }
  Fields fields{.kind = kind};
  for (;;) {
    if (head.substr(at).starts_with("\r\n")) break;
    const size_t name = at;
    while (at < head.size() && kIsToken[static_cast<uint8_t>(head[at])]) ++at;
    if (at == name || at == head.size() || head[at] != ':') return std::nullopt;
    const size_t colon = at++;
    while (at < head.size() && is_value(head[at])) ++at;
    if (!head.substr(at).starts_with("\r\n")) return std::nullopt;
    if (!fields.take(head.substr(name, colon - name), trimmed(head.substr(colon + 1, at - colon - 1))))
      return std::nullopt;
    at += 2;
  }
  const std::optional<size_t> length = length_of(fields.content_length, max_body_bytes);
  if (!length || fields.host.empty()) return std::nullopt;
  if (kind == PlainBody::kJson && fields.content_type.empty()) return std::nullopt;
  return PlainPost{.body = at + 2,
                   .end = at + 2 + *length,
                   .host = fields.host,
                   .request_id = fields.request_id,
                   .authorization = fields.authorization,
                   .json_length = fields.json_length};
}

}  // namespace headrace
