#include "text/vector_json.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace headrace {
namespace {

std::string written(const std::vector<float>& values, int64_t columns, VectorEncoding encoding) {
  std::string out;
  append_embedding_objects(values, columns, encoding, out);
  return out;
}

TEST(VectorJson, WritesTheShortestDecimals) {
  EXPECT_EQ(written({0.5f, -0.25f, 0.1f, 3.0f}, 2, VectorEncoding::kDecimal),
            R"([{"object":"embedding","index":0,"embedding":[0.5,-0.25]},)"
            R"({"object":"embedding","index":1,"embedding":[0.1,3]}])");
}

TEST(VectorJson, NoRowsAreAnEmptyArray) { EXPECT_EQ(written({}, 3, VectorEncoding::kDecimal), "[]"); }

TEST(VectorJson, AppendsBehindWhatIsThere) {
  std::string out = "x";
  append_embedding_objects(std::vector<float>{1.0f}, 1, VectorEncoding::kDecimal, out);
  EXPECT_EQ(out, R"(x[{"object":"embedding","index":0,"embedding":[1]}])");
}

// RFC 4648 test lengths 4, 8 and 12 bytes cover the three kinds of padding.
TEST(VectorJson, Base64IsLittleEndianWithPadding) {
  EXPECT_EQ(written({0.5f}, 1, VectorEncoding::kBase64),
            R"([{"object":"embedding","index":0,"embedding":"AAAAPw=="}])");
  EXPECT_EQ(written({0.5f, -0.25f}, 2, VectorEncoding::kBase64),
            R"([{"object":"embedding","index":0,"embedding":"AAAAPwAAgL4="}])");
  EXPECT_EQ(written({0.5f, -0.25f, 1.0f}, 3, VectorEncoding::kBase64),
            R"([{"object":"embedding","index":0,"embedding":"AAAAPwAAgL4AAIA/"}])");
}

TEST(VectorJson, Base64CarriesEveryBitPattern) {
  const std::string out = written({std::bit_cast<float>(0x7fc00001u), std::bit_cast<float>(0xff800000u)}, 2,
                                  VectorEncoding::kBase64);
  EXPECT_EQ(out, R"([{"object":"embedding","index":0,"embedding":"AQDAfwAAgP8="}])");
}

TEST(VectorJson, EveryDecimalReadsBackAsTheSameBits) {
  std::vector<float> values = {0.0f,
                               -0.0f,
                               1e10f,
                               1e-10f,
                               -1.17549435e-38f,
                               std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::lowest(),
                               std::numeric_limits<float>::denorm_min(),
                               std::nextafter(1.0f, 2.0f)};
  std::mt19937 random(7);
  while (values.size() < 20000) {
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::isfinite(value)) values.push_back(value);
  }
  const std::string out = written(values, static_cast<int64_t>(values.size()), VectorEncoding::kDecimal);
  const JsonDocument document(out, "vectors");  // and it is JSON for a strict reader
  size_t i = 0;
  for (const JsonValue object : document.root().items()) {
    for (const JsonValue item : object.at("embedding").items()) {
      const auto value = static_cast<float>(item.as_double());
      EXPECT_EQ(value, values[i]);
      ++i;
    }
  }
  EXPECT_EQ(i, values.size());
}

TEST(VectorJson, RefusesWhatJsonCannotSay) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    try {
      written({1.0f, 2.0f, 3.0f, value}, 2, VectorEncoding::kDecimal);
      FAIL() << value;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInternal);
      EXPECT_NE(error.message().find("vector 1"), std::string::npos) << error.message();
    }
  }
}

TEST(VectorJson, RefusesColumnsThatDoNotDivide) {
  for (const int64_t columns : {int64_t{0}, int64_t{-1}, int64_t{2}, std::numeric_limits<int64_t>::min()}) {
    EXPECT_THROW(written({1.0f, 2.0f, 3.0f}, columns, VectorEncoding::kDecimal), Error) << columns;
  }
}

}  // namespace
}  // namespace headrace
