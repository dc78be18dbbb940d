// Requests that try to carry a known attack past a firewall: every attack in every place of a
// request, written in every way that some server or browser still understands. "None passes that
// libmodsecurity stops" is what a test of the engine has to show with them; evasion_test.cc shows
// that they are worth it.
//
// Deterministic: the same list each time, in the same order.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leeward::waf::evasion {

struct Request {
  std::string attack;     // class of the payload: "sqli", "xss", …; "benign" for controls
  std::string technique;  // how it is written: "double percent"
  std::string place;      // where it is put: "query"
  std::string method;
  std::string target;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;

  std::string name() const { return attack + ", " + technique + ", " + place; }
};

std::vector<Request> all();

// The techniques that all() has, in order.
std::vector<std::string> techniques();

}  // namespace leeward::waf::evasion
