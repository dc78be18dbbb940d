// libmodsecurity 3 behind the seam of waf.h, to compare seclang_engine.h with. The product does not
// link it.
//
// Phases 1 (head), 2 (body) and 5 (logging) run; 3 and 4 look at responses and do not. Of the rules
// file, SecRuleEngine, SecRequestBodyAccess, SecRequestBodyLimit and SecRequestBodyLimitAction are
// overruled by edge.firewall of leeward.yaml. The engine always runs as `On`: in mode detect it
// says exactly what mode block would refuse, and the edge lets it pass.
//
// The action `pause` is not followed; `drop` is a refusal. What libmodsecurity does not report as
// an error is none here: an unknown @operator is taken for a regular expression, and a regular
// expression that does not compile never matches.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "edge/waf.h"

namespace leeward::edge {

// The library's own state: initialised once, shared by all engines of a process, and with it the
// collections (IP, GLOBAL, SESSION) that rules count in, which so outlive a reload.
class ModSecurityLibrary;

class ModSecurityEngine final : public InspectionEngine {
 public:
  // Reads settings.rules_file, taken as it is, and what it includes. kInvalid with
  // "FILE:LINE:COLUMN: …" as far as the library says where; kNotFound. `before`: the engine whose
  // place it takes; may be null.
  static Result<std::shared_ptr<const ModSecurityEngine>> load(
      const EdgeWaf& settings, const ModSecurityEngine* before = nullptr);
  ~ModSecurityEngine() override;

  WafVerdict inspect(const InspectedRequest& request) const override;
  std::size_t rules() const;  // how many were loaded

 private:
  struct Rules;
  ModSecurityEngine(std::shared_ptr<ModSecurityLibrary> library, std::unique_ptr<Rules> rules);

  std::shared_ptr<ModSecurityLibrary> library_;  // outlives rules_
  std::unique_ptr<Rules> rules_;
};

}  // namespace leeward::edge
