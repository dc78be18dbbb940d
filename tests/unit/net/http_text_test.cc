#include "net/internal/http_text.h"

#include <gtest/gtest.h>

namespace leeward::net {
namespace {

TEST(HttpTarget, IsSplitAndDecoded) {
  auto target = parse_target("/v1/a%20b?x=1&y=a+b%26&empty=&flag&x=2&&");
  ASSERT_TRUE(target) << target.error().message;
  EXPECT_EQ(target->path, "/v1/a b");
  EXPECT_EQ(target->query, (std::map<std::string, std::string>{
                               {"empty", ""}, {"flag", ""}, {"x", "2"}, {"y", "a b&"}}));
}

TEST(HttpTarget, RefusesWhatItCannotRead) {
  for (const char* bad : {"", "*", "x", "http://a/b", "/%", "/%4", "/%zz", "/a%00", "/?a=%0"}) {
    auto target = parse_target(bad);
    ASSERT_FALSE(target) << bad;
    EXPECT_EQ(target.error().code, Code::kInvalid);
  }
}

TEST(HttpTarget, SurvivesTheRoundTrip) {
  const std::map<std::string, std::string> query{{"a&b", "c=d e+f"}, {"ü", "\xff\r\n"}};
  auto target = parse_target(format_target("/sites/a b?c#d/%", query));
  ASSERT_TRUE(target) << target.error().message;
  EXPECT_EQ(target->path, "/sites/a b?c#d/%");
  EXPECT_EQ(target->query, query);
}

TEST(HttpHead, OfARequestCannotBeBrokenOutOf) {
  const Endpoint to{"127.0.0.1", 80};
  HttpRequest request;
  request.headers = {{"X-Token", "a\r\nX-Evil: 1"}};
  EXPECT_EQ(format_request_head(request, to).error().code, Code::kInvalid);
  request.headers = {{"X Token", "a"}};
  EXPECT_FALSE(format_request_head(request, to));
  request.headers.clear();
  request.method = "GET /";
  EXPECT_FALSE(format_request_head(request, to));
  request.method = "GET";
  request.path = "/a b\r\n";
  auto head = format_request_head(request, to);
  ASSERT_TRUE(head);
  EXPECT_TRUE(head->starts_with("GET /a%20b%0D%0A HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"));
}

TEST(HttpHead, OfAResponseLeavesBrokenFieldsOut) {
  HttpResponse response;
  response.body = "{}";
  response.headers = {{"X-Good", "1"}, {"X-Bad", "1\r\nSet-Cookie: x"}, {"Content-Length", "99"}};
  EXPECT_EQ(format_response_head(response, "OK", true, true),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Good: 1\r\n"
            "Content-Length: 2\r\nConnection: keep-alive\r\n\r\n");
}

TEST(HttpError, SurvivesTheRoundTrip) {
  const Error error{Code::kNoQuorum, "only 1 of 3 \"vantage points\" answered"};
  HttpResponse response = error_response(error);
  EXPECT_EQ(response.status, http_status(Code::kNoQuorum));
  Error back = error_from_response(response);
  EXPECT_EQ(back.code, error.code);
  EXPECT_EQ(back.message, error.message);
  response.body = "<html>";
  EXPECT_EQ(error_from_response(response).code, Code::kNoQuorum);
}

TEST(HttpHeaderNames, CompareWithoutCase) {
  HttpRequest request;
  request.headers = {{"content-TYPE", "x"}};
  EXPECT_EQ(request.header("Content-Type"), "x");
  EXPECT_EQ(request.header("Content"), "");
}

}  // namespace
}  // namespace leeward::net
