#include "corpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "benign.h"
#include "payloads.h"

namespace leeward::waf::compared {
namespace {

template <typename List>
std::string_view pick(Random& random, const List& list) {
  return list[random.below(std::size(list))];
}

bool plain(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         c == '_' || c == '.';
}

// ---- Ways to write a payload.

std::string url_encoded(std::string_view text, bool all = false) {
  std::string out;
  for (unsigned char c : text) {
    if (!all && plain(c))
      out += static_cast<char>(c);
    else
      out += fmt::format("%{:02x}", c);
  }
  return out;
}

std::string some_case(Random& random, std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) && random.one_in(2)) c ^= 0x20;
  return out;
}

std::string blanks_as(std::string_view text, std::string_view blank) {
  std::string out;
  for (char c : text)
    if (c == ' ')
      out += blank;
    else
      out += c;
  return out;
}

std::string each(Random& random, std::string_view text, auto&& write) {
  std::string out;
  for (unsigned char c : text)
    if (!plain(c) || random.one_in(5))
      out += write(c);
    else
      out += static_cast<char>(c);
  return out;
}

std::string base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      out += i + k <= text.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

struct Written {
  std::string text, how;
};

Written written(Random& random, std::string_view payload) {
  const std::string text(payload);
  switch (random.below(24)) {
    case 0:
      return {some_case(random, text), "case"};
    case 1:
      return {url_encoded(text), "encoded"};
    case 2:
      return {url_encoded(text, true), "all-encoded"};
    case 3:
      return {url_encoded(url_encoded(text)), "double-encoded"};
    case 4:
      return {each(random, text, [](unsigned char c) { return fmt::format("%u{:04x}", c); }), "u"};
    case 5:
      return {each(random, text, [](unsigned char c) { return fmt::format("&#{};", c); }),
              "entity"};
    case 6:
      return {each(random, text, [](unsigned char c) { return fmt::format("&#x{:x};", c); }),
              "hex-entity"};
    case 7:
      return {each(random, text, [](unsigned char c) { return fmt::format("\\x{:02x}", c); }),
              "js-hex"};
    case 8:
      return {each(random, text, [](unsigned char c) { return fmt::format("\\u{:04x}", c); }),
              "js-unicode"};
    case 9:
      return {blanks_as(text, "/**/"), "comment"};
    case 10:
      return {blanks_as(text, random.one_in(2) ? "\t" : "\n"), "blank"};
    case 11:
      return {blanks_as(text, "\xc2\xa0"), "nbsp"};
    case 12: {
      std::string cut = text;
      cut.insert(random.below(cut.size() + 1), 1, '\0');
      return {cut, "nul"};
    }
    case 13:
      return {each(random, text,
                   [](unsigned char c) {
                     return c >= 0x80 ? std::string(1, static_cast<char>(c))
                                      : std::string{static_cast<char>(0xc0 | c >> 6),
                                                    static_cast<char>(0x80 | (c & 0x3f))};
                   }),
              "overlong"};
    case 14:
      return {base64(text), "base64"};
    case 15: {  // between words of an honest text
      return {std::string(pick(random, benign_texts())) + " " + text, "within"};
    }
    case 16:
      return {each(random, text, [](unsigned char c) { return fmt::format("\\{:x} ", c); }), "css"};
    case 17: {  // full-width forms
      std::string wide;
      for (unsigned char c : text)
        if (c > 0x20 && c < 0x7f && random.one_in(3)) {
          const unsigned point = c + 0xfee0u;
          wide += static_cast<char>(0xe0 | point >> 12);
          wide += static_cast<char>(0x80 | (point >> 6 & 0x3f));
          wide += static_cast<char>(0x80 | (point & 0x3f));
        } else {
          wide += static_cast<char>(c);
        }
      return {wide, "wide"};
    }
    case 18:
    case 19:
    case 20:
    case 21:
      return {mutated(random, text), "mutated"};
    default:
      return {text, "plain"};
  }
}

// ---- Places in a request.

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\')
      out += fmt::format("\\{}", static_cast<char>(c));
    else if (c < 0x20)
      out += fmt::format("\\u{:04x}", c);
    else
      out += static_cast<char>(c);
  }
  return out + "\"";
}

std::string xml_text(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else if (c >= 0x20 || c == '\n' || c == '\t')
      out += static_cast<char>(c);
  }
  return out;
}

std::string field_text(std::string_view text) {  // what a server lets through
  std::string out;
  for (char c : text)
    if (c != '\r' && c != '\n' && c != '\0') out += c;
  return out;
}

void set_field(Request& request, std::string_view name, std::string value) {
  for (auto& [have, text] : request.fields)
    if (have == name) {
      text = std::move(value);
      return;
    }
  request.fields.emplace_back(name, std::move(value));
}

void set_body(Request& request, std::string_view type, std::string body) {
  request.method = "POST";
  set_field(request, "Content-Type", std::string(type));
  set_field(request, "Content-Length", std::to_string(body.size()));
  request.body = std::move(body);
}

Request browser(Random& random) {
  static constexpr std::string_view kAgents[] = {
      "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 "
      "Safari/537.36",
      "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
      "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0"};
  Request request;
  request.fields = {{"Host", "shop.test"},
                    {"User-Agent", std::string(pick(random, kAgents))},
                    {"Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}};
  if (random.one_in(2)) set_field(request, "Accept-Language", "ko-KR,ko;q=0.9,en;q=0.8");
  if (random.one_in(2)) set_field(request, "Accept-Encoding", "gzip, deflate, br");
  if (random.one_in(3)) set_field(request, "Referer", "https://shop.test/list?page=2");
  if (random.one_in(3)) set_field(request, "Cookie", "sid=8f14e45fceea167a; theme=dark");
  return request;
}

std::string multipart(std::string_view name, std::string_view filename, std::string_view value) {
  std::string body = "--b0undary\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n";
  body += fmt::format("--b0undary\r\nContent-Disposition: form-data; name=\"{}\"", name);
  if (!filename.empty())
    body += fmt::format("; filename=\"{}\"\r\nContent-Type: text/plain", filename);
  body += fmt::format("\r\n\r\n{}\r\n--b0undary--\r\n", value);
  return body;
}

std::string within_quotes(std::string_view text) {
  std::string out;
  for (char c : field_text(text))
    if (c != '"') out += c;
  return out;
}

// Puts `text` somewhere and says where.
std::string_view place(Random& random, Request& request, const std::string& text) {
  constexpr std::string_view kForm = "application/x-www-form-urlencoded";
  constexpr std::string_view kJson = "application/json";
  switch (random.below(20)) {
    case 0:
      request.target = "/" + url_encoded(text);
      return "path";
    case 1:
      request.target = "/a?" + url_encoded(text) + "=1";
      return "name";
    case 2:
      set_field(request, "Cookie", "sid=1; pref=" + field_text(text));
      return "cookie";
    case 3:
      set_field(request, "Cookie", field_text(text) + "=1");
      return "cookie-name";
    case 4:
      set_field(request, "User-Agent", field_text(text));
      return "agent";
    case 5:
      set_field(request, "Referer", "https://shop.test/" + field_text(text));
      return "referer";
    case 6:
      set_field(request, "X-Forwarded-For", field_text(text));
      return "field";
    case 7:
    case 8:
      set_body(request, kForm, "a=1&note=" + url_encoded(text) + "&b=2");
      return "form";
    case 9:
      set_body(request, kForm, url_encoded(text) + "=1");
      return "form-name";
    case 10:
    case 11:
      set_body(request, kJson,
               fmt::format(R"({{"user":{{"id":17,"note":{}}},"tags":["a",{}]}})", json_string(text),
                           json_string("b")));
      return "json";
    case 12:
      set_body(request, kJson, fmt::format("{{{}:1}}", json_string(text)));
      return "json-name";
    case 13:
      set_body(
          request, "text/xml",
          fmt::format("<?xml version=\"1.0\"?><order><note>{}</note></order>", xml_text(text)));
      return "xml";
    case 14:
      set_body(request, "multipart/form-data; boundary=b0undary", multipart("text", "", text));
      return "multipart";
    case 15:
      set_body(request, "multipart/form-data; boundary=b0undary",
               multipart("file", within_quotes(text), "content"));
      return "file-name";
    case 16:
      set_body(request, "text/plain", text);
      return "raw";
    default:
      request.target = "/search?q=" + url_encoded(text) + "&page=1";
      return "query";
  }
}

}  // namespace

std::string mutated(Random& random, std::string_view text) {
  constexpr std::string_view kSpecial =
      "'\"`;()<>=/\\|&%#*+-,.:{}[]$!?@~^ \t\n\r\x0b\x01\x7f\x80\xa0\xff\xbc\xbe";
  std::string out(text);
  for (std::size_t i = 0, n = 1 + random.below(4); i < n; ++i) {
    const std::size_t at = random.below(out.size() + 1);
    const std::size_t length = std::min(out.size() - at, 1 + random.below(4));
    switch (random.below(6)) {
      case 0:
        out.erase(at, length);
        break;
      case 1:
        out.insert(at, 1, kSpecial[random.below(kSpecial.size())]);
        break;
      case 2:
        out.insert(at, out.substr(at, length));
        break;
      case 3:
        if (at < out.size()) out[at] = kSpecial[random.below(kSpecial.size())];
        break;
      case 4:
        std::rotate(out.begin() + static_cast<std::ptrdiff_t>(at),
                    out.begin() + static_cast<std::ptrdiff_t>(at + length), out.end());
        break;
      default: {
        const auto classes = payload_classes();
        const std::string_view other = pick(random, classes[random.below(classes.size())].payloads);
        const std::size_t from = random.below(other.size() + 1);
        out.insert(at, other.substr(from, 1 + random.below(8)));
      }
    }
  }
  return out;
}

Request attack(Random& random) {
  const auto classes = payload_classes();
  const PayloadClass& kind = classes[random.below(classes.size())];
  std::string payload(pick(random, kind.payloads));
  if (random.one_in(6)) {  // two of them
    payload += ' ';
    payload += pick(random, classes[random.below(classes.size())].payloads);
  }
  Request request = browser(random);
  Written text = written(random, payload);
  if (random.one_in(4)) {
    Written again = written(random, text.text);
    text = {again.text, text.how + "+" + again.how};
  }
  const std::string_view where = place(random, request, text.text);
  request.kind = fmt::format("{}/{}/{}", kind.name, text.how, where);
  return request;
}

Request benign(Random& random) {
  Request request = browser(random);
  const auto text = [&] { return benign_text(random); };
  const auto form = [&] {
    std::string all;
    for (std::size_t i = 0, n = 1 + random.below(12); i < n; ++i)
      all += fmt::format("{}{}={}", i == 0 ? "" : "&", url_encoded(benign_name(random)),
                         url_encoded(text()));
    return all;
  };
  std::string_view where;
  switch (random.below(7)) {
    case 0: {
      constexpr std::string_view kPaths[] = {"/",
                                             "/index.html",
                                             "/static/app.3f2a.js",
                                             "/img/%EC%82%AC%EC%A7%84.png",
                                             "/api/v1/items/17",
                                             "/a%20b/c",
                                             "/login"};
      request.target = pick(random, kPaths);
      where = "page";
      break;
    }
    case 1:
      request.target = "/search?" + form();
      where = "query";
      break;
    case 2:
      set_body(request, "application/x-www-form-urlencoded", form());
      where = "form";
      break;
    case 3: {
      set_body(request, "application/json", benign_json(random));
      where = "json";
      break;
    }
    case 4:
      set_body(request, "application/xml",
               fmt::format("<o a=\"{}\"><n>{}</n><m>{}</m></o>", xml_text(text()), xml_text(text()),
                           xml_text(text())));
      where = "xml";
      break;
    case 5:
      set_body(request, "multipart/form-data; boundary=b0undary",
               random.one_in(2) ? multipart("note", "", text())
                                : multipart("file", "report.pdf", benign_bytes(random)));
      where = "multipart";
      break;
    default: {  // an honest text anywhere
      where = place(random, request, text());
      break;
    }
  }
  request.kind = fmt::format("benign/{}", where);
  return request;
}

Request odd(Random& random) {
  Request request = browser(random);
  const auto drop = [&](std::string_view name) {
    std::erase_if(request.fields, [&](const auto& field) { return field.first == name; });
  };
  const std::size_t which = random.below(26);
  constexpr std::string_view kForm = "application/x-www-form-urlencoded";
  switch (which) {
    case 0:
      drop("Host");
      break;
    case 1:
      drop("User-Agent");
      break;
    case 2:
      drop("Accept");
      break;
    case 3:
      set_field(request, "Host", "192.0.2.7");
      break;
    case 4:
      request.method = random.one_in(2) ? "TRACE" : "PROPFIND";
      break;
    case 5:
      request.protocol = random.one_in(2) ? "1.0" : "3.9";
      break;
    case 6:
      request.fields.emplace_back("Content-Length", random.one_in(2) ? "0, 5" : "x");
      break;
    case 7:
      set_body(request, "application/unknown", "abc");
      break;
    case 8:
      set_body(request, "application/x-www-form-urlencoded; charset=utf-7", "a=1");
      break;
    case 9:
      set_body(request, kForm, "a=%zz&b=%1&c=%");
      break;
    case 10:
      set_body(request, "application/json", "{\"a\":1,");
      break;
    case 11:
      set_body(request, "text/xml", "<a><b></a>");
      break;
    case 12:
      set_body(request, "multipart/form-data; boundary=other", multipart("a", "", "x"));
      break;
    case 13:
      set_body(request, "multipart/form-data; boundary=\"b0undary\"", multipart("a", "b.php", "x"));
      break;
    case 14:
      request.fields.emplace_back("Range", "bytes=0-1,2-3,4-5,6-7,8-9,10-11");
      break;
    case 15:
      request.fields.emplace_back("Connection", "keep-alive, close");
      break;
    case 16:
      set_field(request, "User-Agent", random.one_in(2) ? "sqlmap/1.6" : "Nikto");
      break;
    case 17:
      request.target = "/a?" + std::string(400, 'a') + "=" + std::string(500, 'b');
      break;
    case 18: {
      request.target = "/a?x=0";
      for (int i = 0; i < 300; ++i) request.target += fmt::format("&p{}={}", i, i);
      break;
    }
    case 19:
      request.target = "/a?id=1&id=2&id=1'&id= or '1'='1";
      break;
    case 20:
      request.target = "/a?x=%ff%fe%c3%28&y=%80";
      break;
    case 21:
      request.target = "/backup.sql?x=" + url_encoded("\x01\x02 \x7f");
      break;
    case 22:
      request.fields.emplace_back("Proxy", "http://evil.test");
      request.fields.emplace_back("X-Up-Devcap-Post-Charset", "utf-7");
      break;
    case 23:
      set_body(request, kForm, "");
      set_field(request, "Transfer-Encoding", "chunked");
      break;
    case 24:
      request.target = "http://shop.test/a?b=c#d";
      break;
    default:
      request.fields.emplace_back("Content-Encoding", "gzip");
      request.target = "/%e0%80%af/%c0%ae%c0%ae/;x=1";
      break;
  }
  request.kind = fmt::format("odd/{}", which);
  return request;
}

Request any(Random& random) {
  const std::size_t lot = random.below(10);
  return lot < 7 ? attack(random) : lot < 9 ? benign(random) : odd(random);
}

}  // namespace leeward::waf::compared
