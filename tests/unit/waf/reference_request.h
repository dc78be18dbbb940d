// A whole request before libmodsecurity 3.0.9, for what it makes of query strings, cookies and
// bodies. Its variables are public, so they are read where they are.
#pragma once

#include <modsecurity/modsecurity.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace leeward::waf::reference {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// Sorted, because the library's collections are hash tables.
inline Pairs sorted(Pairs pairs) {
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

inline Pairs contents(modsecurity::AnchoredSetVariable& variable) {
  std::vector<const modsecurity::VariableValue*> values;
  variable.resolve(&values);
  Pairs pairs;
  for (const modsecurity::VariableValue* value : values) {
    pairs.emplace_back(value->getKey(), value->getValue());
    delete value;
  }
  return sorted(std::move(pairs));
}

class Engine {
 public:
  explicit Engine(const std::string& rules) {
    if (rules_.load(rules.c_str()) < 0) throw std::runtime_error(rules_.getParserError());
    library_.setServerLogCb([](void*, const void*) {});
  }
  modsecurity::ModSecurity library_;
  modsecurity::RulesSet rules_;
};

class Request {
 public:
  explicit Request(Engine& engine) : transaction(&engine.library_, &engine.rules_, nullptr) {}

  void body(const std::string& content_type, const std::string& content) {
    transaction.processURI("/", "POST", "1.1");
    transaction.addRequestHeader(std::string("Content-Type"), content_type);
    transaction.processRequestHeaders();
    transaction.appendRequestBody(reinterpret_cast<const unsigned char*>(content.data()),
                                  content.size());
    transaction.processRequestBody();
  }

  modsecurity::Transaction transaction;
};

inline std::string value_of(modsecurity::AnchoredVariable& variable) {
  const std::string* value = variable.evaluate();
  return value ? *value : "";
}

}  // namespace leeward::waf::reference
