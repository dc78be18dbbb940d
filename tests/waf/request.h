// A request of the comparison with libmodsecurity: what both engines are given.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace leeward::waf::compared {

struct Request {
  std::string kind;  // where it comes from: "sqli/double-encoded/query"
  std::string method = "GET";
  std::string target = "/";
  std::string protocol = "1.1";
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;

  std::string text() const {  // as it would be sent, for a person to read
    std::string all = method + " " + target + " HTTP/" + protocol + "\n";
    for (const auto& [name, value] : fields) all += name + ": " + value + "\n";
    return all + "\n" + body;
  }
};

}  // namespace leeward::waf::compared
