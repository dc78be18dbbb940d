// What of a request is not written into logs: values whose names say that they are secret. A value
// is replaced whole by "***"; names stay. Pure; immutable.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace leeward::edge {

class SecretMask {
 public:
  static constexpr std::string_view kMasked = "***";

  // `more`: parts of names, beside the usual ones (pass, token, secret, authoriz, cookie …), in any
  // case.
  explicit SecretMask(const std::vector<std::string>& more = {});

  // The name of an argument, field or cookie.
  bool is_secret(std::string_view name) const;
  // Path and query with the values of secret arguments masked. Names are compared decoded.
  std::string target(std::string_view target) const;
  // What a rule matched: `variable` is where the value came from (waf::MatchedRule::origin), as
  // ModSecurity names it, "ARGS:password". Of cookies, of bodies, and of texts that hold several
  // values or anybody's, everything is masked.
  std::string matched(std::string_view variable, std::string_view value) const;

 private:
  std::vector<std::string> words_;  // in lower case
};

}  // namespace leeward::edge
