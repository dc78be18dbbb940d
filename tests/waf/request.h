// A request of the comparison with libmodsecurity: what both engines are given.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace leeward::waf::compared {

struct Answer {  // of the server behind the firewall
  int status = 200;
  std::string type = "text/html";
  std::string body;
};

struct Request {
  std::string kind;  // where it comes from: "sqli/double-encoded/query"
  std::string method = "GET";
  std::string target = "/";
  std::string protocol = "1.1";
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  std::string client = "127.0.0.1";
  std::uint16_t client_port = 40000;
  std::optional<Answer> answer;  // without one, the phases of the response do not run

  std::string text() const {  // as it would be sent, for a person to read
    std::string all = method + " " + target + " HTTP/" + protocol + "\n";
    for (const auto& [name, value] : fields) all += name + ": " + value + "\n";
    all += "\n" + body;
    if (answer) all += "\nanswered " + std::to_string(answer->status) + "\n\n" + answer->body;
    return all;
  }
};

}  // namespace leeward::waf::compared
