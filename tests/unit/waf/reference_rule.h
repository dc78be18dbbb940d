// One rule of libmodsecurity 3.0.9, asked about one value: what an operator says, and what it
// captures.
#pragma once

#include <modsecurity/modsecurity.h>
#include <modsecurity/rule_message.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>

#include <optional>
#include <stdexcept>
#include <string>

namespace leeward::waf::reference {

class Rule {
 public:
  // `operation` as in a rule: "@within GET,POST". Throws for what the library does not read.
  explicit Rule(const std::string& operation) {
    const std::string text = "SecRuleEngine DetectionOnly\nSecRule REQUEST_HEADERS:v \"" +
                             operation +
                             "\" \"id:1,phase:1,pass,log,t:none,capture,logdata:'%{TX.0}'\"\n";
    if (rules_.load(text.c_str()) < 0) throw std::runtime_error(rules_.getParserError());
    // Without a place to write to, the library logs to standard output.
    library_.setServerLogCb([](void*, const void*) {});
  }

  // What %{TX.0} is after a match, empty if the operator captures nothing; nullopt for none.
  std::optional<std::string> match(const std::string& value) {
    modsecurity::Transaction transaction(&library_, &rules_, nullptr);
    transaction.addRequestHeader(std::string("v"), value);
    transaction.processRequestHeaders();
    if (transaction.m_rulesMessages.empty()) return std::nullopt;
    return transaction.m_rulesMessages.front().m_data;
  }

 private:
  modsecurity::ModSecurity library_;
  modsecurity::RulesSet rules_;
};

}  // namespace leeward::waf::reference
