#include "edge/http1.h"

#include <gtest/gtest.h>

#include <memory>

namespace leeward::edge {
namespace {

struct Parsed {
  Outcome outcome;
  std::unique_ptr<RequestHead> head = std::make_unique<RequestHead>();
};

Parsed parse(std::string_view bytes) {
  Parsed p;
  HeadScan scan;
  p.outcome = parse_request(bytes, {}, scan, *p.head);
  return p;
}

// One octet more at a time must come to the same end as all at once.
Outcome parse_slowly(std::string_view bytes) {
  HeadScan scan;
  auto head = std::make_unique<RequestHead>();
  for (std::size_t n = 1; n <= bytes.size(); ++n) {
    Outcome outcome = parse_request(bytes.substr(0, n), {}, scan, *head);
    if (outcome.kind != Outcome::Kind::kMore) return outcome;
  }
  return {};
}

struct Case {
  const char* name;
  std::string_view bytes;
  int status;  // 0: accepted
};

using namespace std::string_view_literals;

// What request smuggling lives on, and its harmless neighbours.
const Case kCases[] = {
    {"plain", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 0},
    {"length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"sv, 0},
    {"chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"sv, 0},
    {"chunked_upper", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n"sv, 0},
    {"empty_line_first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 0},
    {"absolute_form", "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n"sv, 0},
    {"options_star", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"sv, 0},
    {"content_type", "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\n\r\n"sv, 0},
    {"two_content_codings",
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Encoding: br\r\n\r\n"sv, 0},
    {"two_content_types",
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\ncontent-type: c/d\r\n\r\n"sv, 400},
    {"same_content_type_twice",
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n\r\n"sv, 400},
    {"content_type_and_its_lookalike",
     "POST / HTTP/1.1\r\nHost: a\r\nContent_Type: a/b\r\nContent-Type: c/d\r\n\r\n"sv, 400},
    {"content_type_lookalike", "POST / HTTP/1.1\r\nHost: a\r\nContent_Type: a/b\r\n\r\n"sv, 400},
    {"content_coding_lookalike", "POST / HTTP/1.1\r\nHost: a\r\nContent_Encoding: gzip\r\n\r\n"sv,
     400},
    {"obs_text", "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\r\n\r\n"sv, 0},
    {"cl_te",
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"sv,
     400},
    {"te_cl",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"sv,
     400},
    {"two_lengths",
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"sv, 400},
    {"same_length_twice",
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"sv, 400},
    {"length_list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n"sv, 400},
    {"length_plus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"sv, 400},
    {"length_minus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"sv, 400},
    {"length_hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n"sv, 400},
    {"length_empty", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"sv, 400},
    {"length_huge", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"sv,
     400},
    {"te_te",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"sv,
     400},
    {"te_identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"sv, 501},
    {"te_list", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"sv, 501},
    {"te_xchunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"sv, 501},
    {"te_vtab",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0b"
     "chunked\r\n\r\n"sv,
     400},
    {"te_quoted", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n"sv, 501},
    {"te_http10", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"sv, 400},
    {"te_underscore", "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n"sv, 400},
    {"cl_underscore", "POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n"sv, 400},
    {"space_before_colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n"sv, 400},
    {"tab_before_colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n"sv,
     400},
    {"obs_fold", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"sv, 400},
    {"fold_of_te", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"sv, 400},
    {"space_before_first_field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"sv, 400},
    {"bare_lf", "GET / HTTP/1.1\nHost: a\n\n"sv, 400},
    {"bare_lf_in_fields", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"sv, 400},
    {"bare_cr_in_value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n"sv, 400},
    {"nul_in_value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\0\r\n\r\n"sv, 400},
    {"nul_in_target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
    {"no_colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"sv, 400},
    {"no_name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"sv, 400},
    {"no_host", "GET / HTTP/1.1\r\n\r\n"sv, 400},
    {"two_hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"sv, 400},
    {"empty_host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"sv, 400},
    {"host_with_user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"sv, 400},
    {"host_with_path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"sv, 400},
    {"host_port_letters", "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n"sv, 400},
    {"absolute_other_host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
    {"absolute_user", "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n"sv, 400},
    {"other_scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
    {"connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"sv, 405},
    {"get_star", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
    {"fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
    {"two_spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
    {"space_in_target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"sv, 400},
    {"space_after_version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"sv, 400},
    {"http09", "GET /\r\n\r\n"sv, 400},
    {"http2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"sv, 505},
    {"lower_case_http", "GET / http/1.1\r\nHost: a\r\n\r\n"sv, 400},
    {"expectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\n"sv,
     417},
};

TEST(Http1, RefusesEveryAmbiguity) {
  for (const Case& c : kCases) {
    for (const Outcome& o : {parse(c.bytes).outcome, parse_slowly(c.bytes)}) {
      if (c.status == 0) {
        EXPECT_EQ(o.kind, Outcome::Kind::kDone) << c.name << ": " << o.why;
        EXPECT_EQ(o.consumed, c.bytes.size()) << c.name;
      } else {
        EXPECT_EQ(o.kind, Outcome::Kind::kBad) << c.name;
        EXPECT_EQ(o.status, c.status) << c.name << ": " << o.why;
      }
    }
  }
}

TEST(Http1, TellsWhatTheRequestIs) {
  Parsed p = parse("PUT http://Shop.test:80?x HTTP/1.1\r\nHost: Shop.test:80\r\n\r\n");
  EXPECT_EQ(p.outcome.kind, Outcome::Kind::kBad);  // no path: origins would disagree on it
  p = parse(
      "PUT http://Shop.test:80/a?x HTTP/1.1\r\nHost: Shop.test:80\r\nContent-Length: 7\r\n"
      "Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n");
  ASSERT_EQ(p.outcome.kind, Outcome::Kind::kDone) << p.outcome.why;
  EXPECT_EQ(p.head->method, Method::kPut);
  EXPECT_EQ(p.head->target, "/a?x");
  EXPECT_EQ(p.head->framing, Framing::kLength);
  EXPECT_EQ(p.head->content_length, 7u);
  EXPECT_FALSE(p.head->keep_alive);
  EXPECT_TRUE(p.head->upgrade);
  HostText host;
  ASSERT_TRUE(normalize_host(p.head->host, false, host));
  EXPECT_EQ(host.view(), "shop.test");
}

TEST(Http1, AnUpgradeToHttp2IsNone) {
  for (const char* protocols : {"h2c", "h2", "websocket, h2c", "websocket\r\nUpgrade: H2C"}) {
    const std::string bytes =
        std::string("GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: ") + protocols +
        "\r\n\r\n";
    const Parsed p = parse(bytes);
    ASSERT_EQ(p.outcome.kind, Outcome::Kind::kDone) << p.outcome.why;
    EXPECT_FALSE(p.head->upgrade) << protocols;
  }
}

TEST(Http1, HeadsHaveLimits) {
  HeadScan scan;
  auto head = std::make_unique<RequestHead>();
  std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(40'000, 'x');
  EXPECT_EQ(parse_request(bytes, {}, scan, *head).status, 431);
  scan = {};
  bytes = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 120; ++i) bytes += "X: 1\r\n";
  EXPECT_EQ(parse_request(bytes + "\r\n", {}, scan, *head).status, 431);
  scan = {};
  bytes = "GET /" + std::string(9000, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(parse_request(bytes, {}, scan, *head).status, 414);
}

TEST(Http1, ResponsesAreCutInOneWayOnly) {
  auto framing = [](std::string_view bytes, bool to_head = false) {
    HeadScan scan;
    ResponseHead head;
    Outcome outcome = parse_response(bytes, {}, to_head, scan, head);
    return outcome.kind == Outcome::Kind::kDone ? static_cast<int>(head.framing) : -outcome.status;
  };
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            static_cast<int>(Framing::kLength));
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true),
            static_cast<int>(Framing::kNone));
  EXPECT_EQ(framing("HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n"),
            static_cast<int>(Framing::kNone));
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\n\r\n"), static_cast<int>(Framing::kUntilClose));
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n"),
            static_cast<int>(Framing::kUntilClose))
      << "a body is not looked at by its type";
  EXPECT_EQ(framing("HTTP/1.1 101 S\r\n\r\n"), static_cast<int>(Framing::kTunnel));
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
            -502);
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"), -502);
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n"),
            static_cast<int>(Framing::kChunked));
  // A coding that does not exist ends with the connection; one that does, or that somebody might
  // take for chunked, is refused.
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: qwerty\r\n\r\n"),
            static_cast<int>(Framing::kUntilClose));
  for (const char* coding : {"gzip", "x-gzip", "gzip, chunked", "xchunked", "chunked;a=b", "a, b",
                             "", "a\r\nTransfer-Encoding: chunked", "a\r\nContent-Length: 3"})
    EXPECT_EQ(framing(std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: ") + coding + "\r\n\r\n"),
              -502)
        << coding;
  EXPECT_EQ(framing("HTTP/1.0 200 OK\r\nTransfer-Encoding: qwerty\r\n\r\n"), -502);
  EXPECT_EQ(framing("HTTP/1.1 2000 OK\r\n\r\n"), -502);
  EXPECT_EQ(framing("ICY 200 OK\r\n\r\n"), -502);
}

// Decodes with every split of the input into two parts; all must agree.
std::string decode(std::string_view bytes, std::string* trailers = nullptr) {
  std::string first;
  for (std::size_t split = 0; split <= bytes.size(); ++split) {
    ChunkedDecoder decoder;
    std::string body, rest;
    bool ended = false, bad = false;
    for (std::string_view part : {bytes.substr(0, split), bytes.substr(split)}) {
      while (!part.empty() && !bad && !ended) {
        const auto step = decoder.next(part);
        if (step.kind == ChunkedDecoder::Step::Kind::kBad) bad = true;
        if (step.kind == ChunkedDecoder::Step::Kind::kEnd) ended = true;
        body.append(step.data);
        part.remove_prefix(step.consumed);
      }
      rest.append(part);
    }
    const std::string result = bad ? "bad" : ended ? body + "|" + rest : body + "|more";
    if (split == 0) first = result;
    EXPECT_EQ(result, first) << "split at " << split;
    if (trailers != nullptr) *trailers = decoder.trailers();
  }
  return first;
}

TEST(ChunkedDecoder, DecodesWholeBodies) {
  EXPECT_EQ(decode("5\r\nhello\r\n0\r\n\r\nGET"), "hello|GET");
  EXPECT_EQ(decode("5;a=b\r\nhello\r\nA\r\n0123456789\r\n000\r\n\r\n"), "hello0123456789|");
  EXPECT_EQ(decode("5\r\nhel"), "hel|more");
  std::string trailers;
  EXPECT_EQ(decode("0\r\nX-Sum: 1\r\nContent-Length: 5\r\nHost: x\r\n\r\n", &trailers), "|");
  EXPECT_EQ(trailers, "X-Sum: 1\r\n");
}

TEST(ChunkedDecoder, RefusesWhatOthersReadOtherwise) {
  for (std::string_view bytes :
       {"5\nhello\r\n0\r\n\r\n"sv, "5\r\nhello0\r\n\r\n"sv, "5\r\nhello\n0\r\n\r\n"sv,
        "0x5\r\nhello\r\n"sv, "+5\r\nhello\r\n"sv, " 5\r\nhello\r\n"sv, "5 \r\nhello\r\n"sv,
        "\r\n5\r\nhello\r\n"sv, "FFFFFFFFFFFFFFFFF\r\n"sv, "5;a=\nb\r\nhello\r\n"sv,
        "5;\0\r\nhello\r\n"sv, "-1\r\n"sv, "0\r\nX: 1\n\r\n"sv, "0\r\n X: 1\r\n\r\n"sv,
        "0\r\nX : 1\r\n\r\n"sv})
    EXPECT_EQ(decode(bytes), "bad") << bytes;
  EXPECT_EQ(decode("5;" + std::string(300, 'x') + "\r\nhello\r\n"), "bad");
}

}  // namespace
}  // namespace leeward::edge
