// HTTP as events and back, for both ends.
#include "functions/function_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "functions/app_request.h"
#include "functions/base64.h"
#include "functions/internal/http_reader.h"

namespace leeward::functions {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

net::HttpRequest request_of(std::string method, std::string target, std::string body) {
  net::HttpRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.path = request.target.substr(0, request.target.find('?'));
  request.body = std::move(body);
  request.headers = {{"Host", "shop.test"},
                     {"Content-Type", "text/plain"},
                     {"Cookie", "a=1; b=2"},
                     {"Connection", "keep-alive"}};
  request.peer = {"10.0.0.9", 4711};
  return request;
}

UrlContext context() {
  UrlContext c;
  c.url_id = "abc";
  c.domain = "shop.test";
  c.request_id = "r-1";
  c.now = WallTime(1'700'000'000s);
  return c;
}

TEST(FunctionUrl, ARequestReachesTheApplicationAsItWas) {
  for (const std::string& body :
       {std::string(), std::string("näive"), std::string("\xff\x00\x01", 3)}) {
    auto made = app_request_of(event_of(request_of("POST", "/a%20b?x=1&x=2&y", body), context()));
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->method, "POST");
    EXPECT_EQ(made->target, "/a%20b?x=1&x=2&y");
    EXPECT_EQ(made->body, body);
    EXPECT_THAT(made->headers,
                ElementsAre(Pair("content-type", "text/plain"), Pair("host", "shop.test"),
                            Pair("x-forwarded-for", "10.0.0.9"), Pair("cookie", "a=1; b=2")));
  }
}

TEST(FunctionUrl, TheEventIsWhatTheFormatSays) {
  const auto event =
      nlohmann::json::parse(event_of(request_of("GET", "/orders?customer=ann", ""), context()));
  EXPECT_EQ(event["version"], "2.0");
  EXPECT_EQ(event["rawPath"], "/orders");
  EXPECT_EQ(event["rawQueryString"], "customer=ann");
  EXPECT_EQ(event["cookies"], nlohmann::json({"a=1", "b=2"}));
  EXPECT_EQ(event["requestContext"]["http"]["method"], "GET");
  EXPECT_EQ(event["requestContext"]["http"]["sourceIp"], "10.0.0.9");
  EXPECT_EQ(event["requestContext"]["timeEpoch"], 1'700'000'000'000);
  EXPECT_FALSE(event["headers"].contains("connection"));
}

TEST(FunctionUrl, AnAnswerComesBackAsItWas) {
  for (const std::string& body :
       {std::string(), std::string("grüße"), std::string("\x89PNG\x00", 5)}) {
    AppResponse app;
    app.status = 201;
    app.body = body;
    app.headers = {{"content-type", "image/png"},
                   {"set-cookie", "a=1; Path=/"},
                   {"set-cookie", "b=2"},
                   {"vary", "accept"},
                   {"connection", "close"}};
    Status sound;
    net::HttpResponse response = response_of(payload_of(app), sound);
    ASSERT_TRUE(sound);
    EXPECT_EQ(response.status, 201);
    EXPECT_EQ(response.content_type, "image/png");
    EXPECT_EQ(response.body, body);
    EXPECT_THAT(response.cookies, ElementsAre("a=1; Path=/", "b=2"));
    EXPECT_EQ(response.headers.at("vary"), "accept");
    EXPECT_FALSE(response.headers.contains("connection"));
  }
}

TEST(FunctionUrl, AValueWithoutAStatusIsTheBody) {
  Status sound;
  EXPECT_EQ(response_of(R"({"a": 1})", sound).body, R"({"a": 1})");
  EXPECT_EQ(response_of(R"("text")", sound).body, "text");
  EXPECT_TRUE(sound);
}

TEST(FunctionUrl, ABrokenAnswerIsSaidToBe) {
  for (const char* payload : {"not json", R"({"statusCode": 7})", R"({"statusCode": "x"})",
                              R"({"statusCode": 200, "headers": []})",
                              R"({"statusCode": 200, "headers": {"a": "x\r\nSet-Cookie: y"}})",
                              R"({"statusCode": 200, "headers": {"a b": "x"}})",
                              R"({"statusCode": 200, "cookies": ["a\nb"]})",
                              R"({"statusCode": 200, "body": "?", "isBase64Encoded": true})"}) {
    Status sound;
    static_cast<void>(response_of(payload, sound));
    EXPECT_FALSE(sound) << payload;
  }
}

const std::string kPreludeEnd(8, '\0');

TEST(StreamPrelude, IsReadInPiecesOfEverySizeAndLeavesTheBody) {
  const std::string head =
      R"({"statusCode":201,"headers":{"Content-Type":"text/html","X-A":7,"Content-Length":"3"},)"
      R"("cookies":["a=1; Path=/","b=2"]})";
  const std::string body = "näive" + std::string(20, '\0') + "rest";
  const std::string stream = head + kPreludeEnd + body;
  for (std::size_t step = 1; step <= stream.size(); ++step) {
    StreamPrelude prelude;
    std::optional<net::HttpResponse> response;
    std::string rest;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      const std::string piece = stream.substr(at, step);
      if (response) {
        rest += piece;
        continue;
      }
      auto taken = prelude.take(piece);
      ASSERT_TRUE(taken) << taken.error().message;
      response = *taken;
    }
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, 201);
    EXPECT_EQ(response->content_type, "text/html");
    EXPECT_THAT(response->headers, ElementsAre(Pair("X-A", "7")));
    EXPECT_THAT(response->cookies, ElementsAre("a=1; Path=/", "b=2"));
    EXPECT_EQ(response->body + rest, body);
  }
}

TEST(StreamPrelude, SaysLittleWithoutMuchInIt) {
  auto taken = StreamPrelude().take("{}" + kPreludeEnd);
  ASSERT_TRUE(taken && *taken);
  EXPECT_EQ((*taken)->status, 200);
  EXPECT_EQ((*taken)->content_type, "application/octet-stream");
  EXPECT_EQ((*taken)->body, "");
}

TEST(StreamPrelude, IsBrokenWhenItIsTooLongOrNoHead) {
  for (const char* head : {"", "text", "[]", "7", R"({"statusCode":7})", R"({"headers":[]})",
                           R"({"headers":{"a":"x\r\nSet-Cookie: y"}})", R"({"cookies":"a=1"})"})
    EXPECT_FALSE(StreamPrelude().take(head + kPreludeEnd)) << head;
  const auto padded = [](std::size_t bytes) { return "{" + std::string(bytes - 2, ' ') + "}"; };
  EXPECT_TRUE(StreamPrelude().take(padded((64u << 10) - 8) + kPreludeEnd));
  EXPECT_FALSE(StreamPrelude().take(padded((64u << 10) - 7) + kPreludeEnd));
  // And it is said before the end has come.
  StreamPrelude endless;
  Result<std::optional<net::HttpResponse>> taken;
  std::size_t bytes = 0;
  for (; taken && bytes < 100'000; bytes += 1000) taken = endless.take(std::string(1000, ' '));
  EXPECT_FALSE(taken);
  EXPECT_EQ(bytes, 66'000u);
}

TEST(StreamPrelude, IsWhatItsContentTypeSays) {
  EXPECT_TRUE(has_prelude("application/vnd.awslambda.http-integration-response"));
  EXPECT_TRUE(has_prelude("Application/vnd.AWSLambda.http-integration-response ; charset=utf-8"));
  for (const char* type : {"", "text/plain", "application/vnd.awslambda.http-integration"})
    EXPECT_FALSE(has_prelude(type)) << type;
}

TEST(AppRequest, RefusesEventsThatWouldBreakOutOfTheirRequest) {
  const std::string good =
      R"({"version":"2.0","rawPath":"/a","requestContext":{"http":{"method":"GET"}}})";
  EXPECT_TRUE(app_request_of(good));
  for (const char* event :
       {"", "[]", "{}", R"({"version":"1.0"})",
        R"({"version":"2.0","rawPath":"/a b","requestContext":{"http":{"method":"GET"}}})",
        R"({"version":"2.0","rawPath":"/a\r\nx: y","requestContext":{"http":{"method":"GET"}}})",
        R"({"version":"2.0","rawPath":"a","requestContext":{"http":{"method":"GET"}}})",
        R"({"version":"2.0","rawPath":"/","requestContext":{"http":{"method":"G T"}}})",
        R"({"version":"2.0","rawPath":"/","requestContext":[]})",
        R"({"version":"2.0","rawPath":"/","requestContext":{"http":{"method":"GET"}},)"
        R"("headers":{"a":"b\nc"}})"})
    EXPECT_FALSE(app_request_of(event)) << event;
}

TEST(Base64, RoundTripsAndRefusesWhatIsNot) {
  for (std::size_t size = 0; size < 70; ++size) {
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(i * 37 + size);
    EXPECT_EQ(from_base64(base64(bytes)), bytes);
  }
  EXPECT_EQ(base64("Man"), "TWFu");
  EXPECT_EQ(base64("M"), "TQ==");
  for (const char* bad : {"TQ=", "TQ", "T===", "TWF!", "TQ==TQ==", "TR==", "TWFu\n"})
    EXPECT_EQ(from_base64(bad), std::nullopt) << bad;
}

HttpAnswer read_by(std::string_view text, std::size_t step, bool to_end = false) {
  HttpAnswerReader reader(false, 1000);
  for (std::size_t at = 0; at < text.size(); at += step) {
    Status sound = reader.take(text.substr(at, step));
    EXPECT_TRUE(sound) << sound.error().message;
  }
  if (to_end) {
    EXPECT_TRUE(reader.end());
  }
  EXPECT_TRUE(reader.done());
  return reader.answer();
}

TEST(HttpAnswerReader, ReadsEveryFramingInPiecesOfEverySize) {
  for (std::size_t step = 1; step < 40; ++step) {
    HttpAnswer length = read_by(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello",
        step);
    EXPECT_EQ(length.body, "hello");
    EXPECT_EQ(length.field("a"), "b");
    EXPECT_TRUE(length.keep);
    HttpAnswer chunks = read_by(
        "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: "
        "chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: "
        "u\r\n\r\n",
        step);
    EXPECT_EQ(chunks.body, "hello");
    EXPECT_EQ(chunks.status, 404);
    HttpAnswer rest = read_by("HTTP/1.0 200 OK\r\n\r\nhello", step, true);
    EXPECT_EQ(rest.body, "hello");
    EXPECT_FALSE(rest.keep);
  }
}

TEST(HttpAnswerReader, RefusesWhatIsBroken) {
  for (std::string_view text :
       {"HELLO 200 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nnofield\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"}) {
    HttpAnswerReader reader(false, 1000);
    EXPECT_FALSE(reader.take(text)) << text;
  }
  HttpAnswerReader cut(false, 1000);
  EXPECT_TRUE(cut.take("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"));
  EXPECT_FALSE(cut.end());
}

}  // namespace
}  // namespace leeward::functions
