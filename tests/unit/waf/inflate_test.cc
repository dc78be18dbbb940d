#include "waf/inflate.h"

#include <brotli/encode.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "base/check.h"
#include "packed.h"

namespace leeward::waf {
namespace {

std::string packed(ContentCoding coding, std::string_view text) {
  switch (coding) {
    case ContentCoding::kGzip:
      return zlib_packed(text, MAX_WBITS + 16);
    case ContentCoding::kDeflate:
      return zlib_packed(text, MAX_WBITS);
    case ContentCoding::kBrotli: {
      std::size_t size = BrotliEncoderMaxCompressedSize(text.size()) + 64;
      std::string out(size, '\0');
      LEEWARD_CHECK(BrotliEncoderCompress(5, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_GENERIC,
                                          text.size(),
                                          reinterpret_cast<const std::uint8_t*>(text.data()), &size,
                                          reinterpret_cast<std::uint8_t*>(out.data())));
      out.resize(size);
      return out;
    }
    case ContentCoding::kZstd: {
      std::string out(ZSTD_compressBound(text.size()), '\0');
      out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
      return out;
    }
  }
  return {};
}

struct Unpacked {
  std::string text;
  std::optional<BodyError> error;
};

Unpacked unpacked(ContentCoding coding, std::string_view bytes,
                  std::size_t piece = std::string::npos, const InflateLimits& limits = {}) {
  Inflate inflate(coding, limits);
  Unpacked result;
  for (std::size_t at = 0; at < bytes.size(); at += std::min(piece, bytes.size() - at))
    if (!inflate.feed(bytes.substr(at, piece), result.text)) break;
  inflate.finish();
  result.error = inflate.error();
  return result;
}

constexpr ContentCoding kAll[] = {ContentCoding::kGzip, ContentCoding::kDeflate,
                                  ContentCoding::kBrotli, ContentCoding::kZstd};

std::string some_text() {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += std::to_string(i * 7919 % 10'007) + (i % 3 ? "," : "\n");
  return text;
}

TEST(Inflate, GivesWhatWasPacked) {
  const std::string text = some_text();
  for (const ContentCoding coding : kAll) {
    const std::string bytes = packed(coding, text);
    for (const std::size_t piece : {std::string::npos, std::size_t{1}, std::size_t{1000}}) {
      const Unpacked result = unpacked(coding, bytes, piece);
      EXPECT_FALSE(result.error) << static_cast<int>(coding) << ": " << result.error->message;
      EXPECT_TRUE(result.text == text) << static_cast<int>(coding);
    }
    EXPECT_FALSE(unpacked(coding, packed(coding, "")).error) << static_cast<int>(coding);
  }
}

TEST(Inflate, TakesBareDeflateAndSeveralMembers) {
  EXPECT_EQ(unpacked(ContentCoding::kDeflate, zlib_packed("hello", -MAX_WBITS)).text, "hello");
  const std::string one = packed(ContentCoding::kGzip, "one ");
  const std::string two = packed(ContentCoding::kGzip, "two");
  for (const std::size_t piece : {std::string::npos, std::size_t{1}})
    EXPECT_EQ(unpacked(ContentCoding::kGzip, one + two, piece).text, "one two");
  EXPECT_EQ(unpacked(ContentCoding::kZstd,
                     packed(ContentCoding::kZstd, "one ") + packed(ContentCoding::kZstd, "two"))
                .text,
            "one two");
}

TEST(Inflate, RefusesWhatIsNotWhole) {
  const std::string text = some_text();
  for (const ContentCoding coding : kAll) {
    std::string bytes = packed(coding, text);
    EXPECT_TRUE(unpacked(coding, std::string_view(bytes).substr(0, bytes.size() - 3)).error);
    EXPECT_TRUE(unpacked(coding, "").error);
    EXPECT_TRUE(unpacked(coding, bytes + "x").error) << static_cast<int>(coding);
    EXPECT_TRUE(unpacked(coding, "plain text, as it is").error) << static_cast<int>(coding);
  }
}

TEST(Inflate, EndsABombWithinItsBounds) {
  const std::string bomb(64u << 20, '\0');
  for (const ContentCoding coding : kAll) {
    const std::string bytes = packed(coding, bomb);
    const Unpacked by_ratio = unpacked(coding, bytes);
    ASSERT_TRUE(by_ratio.error);
    EXPECT_LE(by_ratio.text.size(), (1u << 20) + 16'384 + 100 * bytes.size());
    const Unpacked by_size = unpacked(coding, bytes, 100, {.output_bytes_max = 10'000});
    ASSERT_TRUE(by_size.error);
    EXPECT_NE(by_size.error->message.find("10000 bytes"), std::string::npos);
    EXPECT_LE(by_size.text.size(), 10'000u + 16'384);
  }
}

TEST(Inflate, CanRefuseWhatStandsBesideTheData) {
  const InflateLimits strict{.only_data = true};
  const auto passes = [](ContentCoding coding, const std::string& bytes,
                         const InflateLimits& limits) {
    const bool whole = !unpacked(coding, bytes, std::string::npos, limits).error;
    EXPECT_EQ(!unpacked(coding, bytes, 1, limits).error, whole) << "in pieces";
    return whole;
  };
  for (const ContentCoding coding : kAll)
    EXPECT_TRUE(passes(coding, packed(coding, some_text()), strict)) << static_cast<int>(coding);

  const std::string member = packed(ContentCoding::kGzip, "a=1");
  const auto with = [&](char flag, std::string_view field) {
    std::string bytes = member;
    bytes[3] = flag;
    bytes.insert(10, std::string(field));
    return bytes;
  };
  const std::string comment = with(16, std::string_view("&q=1\0", 5));
  const std::string extra = with(4, std::string_view("\4\0&q=1", 6));
  const std::string name = with(8, std::string_view("a;b\0", 4));
  const std::string long_name = with(8, std::string(300, 'a') + '\0');
  for (const std::string& bytes : {comment, extra, name, long_name, member + comment}) {
    EXPECT_TRUE(passes(ContentCoding::kGzip, bytes, {}));
    EXPECT_FALSE(passes(ContentCoding::kGzip, bytes, strict));
  }
  const std::string named = with(8, std::string_view("report (1).csv\0", 15));
  EXPECT_TRUE(passes(ContentCoding::kGzip, named + member + named, strict));

  const std::string frame = packed(ContentCoding::kZstd, "a=1");
  const std::string skipped("\x5a\x2a\x4d\x18\4\0\0\0&q=1", 12);
  for (const std::string& bytes : {skipped + frame, frame + skipped + frame}) {
    EXPECT_TRUE(passes(ContentCoding::kZstd, bytes, {}));
    EXPECT_FALSE(passes(ContentCoding::kZstd, bytes, strict));
  }
  EXPECT_TRUE(passes(ContentCoding::kZstd, frame + frame, strict));
}

TEST(Inflate, KnowsCodingsByName) {
  EXPECT_EQ(content_coding_named("GZIP"), ContentCoding::kGzip);
  EXPECT_EQ(content_coding_named("x-gzip"), ContentCoding::kGzip);
  EXPECT_EQ(content_coding_named("br"), ContentCoding::kBrotli);
  EXPECT_EQ(content_coding_named("identity"), std::nullopt);
  EXPECT_EQ(content_coding_named("gzip, br"), std::nullopt);
}

}  // namespace
}  // namespace leeward::waf
