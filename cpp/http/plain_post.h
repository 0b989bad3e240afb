// Recognises the one shape of HTTP request that is answered without a general parser: a POST whose framing
// leaves no room for opinion. What is unusual is not refused here but left, byte for byte, to the general
// parser, so two parsers can never disagree about where a request ends (request smuggling).
//
// Plain is (RFC 9112, and narrower): one request line "POST <target> HTTP/1.1"; lines end in CRLF; each field
// is a token, a colon at once and a value of visible ASCII, spaces and tabs; one host, one content-type
// "application/json" (of a route that takes any body: any one, or none), one content-length of 1 to 8 digits;
// no field that changes framing, connection or meaning (transfer-encoding, expect, upgrade, ...; connection
// may say keep-alive). Other fields are ignored.
//
// Thread-safe: no state.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace headrace {

struct PlainPost {
  size_t body = 0;  // where the body starts
  size_t end = 0;   // where it ends: may be beyond what has arrived, or before
  std::string_view host;
  std::string_view request_id;     // the x-request-id in the bytes given, or empty
  std::string_view authorization;  // likewise
  std::string_view
      json_length;  // likewise the inference-header-content-length, of a route that takes any body
};

inline constexpr size_t kMaxPlainHead = 8192;

enum class PlainBody {
  kJson,
  kAny,  // the Open Inference Protocol's: JSON, or JSON of a length that a header tells and bytes behind it
};

// The request at the start of `bytes`, or none: not plain, a head over kMaxPlainHead or not yet complete, or
// a body over max_body_bytes.
std::optional<PlainPost> match_plain_post(std::string_view bytes, std::string_view target,
                                          size_t max_body_bytes, PlainBody kind = PlainBody::kJson);

}  // namespace headrace
