// The audit log of the web application firewall: a line of JSON for each request that is relevant,
// in the shape that libmodsecurity gives its own ("SecAuditLogFormat JSON"), so that what reads
// those reads these. Of its parts there are A (when, who), B (the request's head), F (the status of
// the response) and H (what the rules found); where it is asked for, also I (the arguments of the
// request's body, audit_body.h). Secret values are masked (secret_mask.h).
//
// Pure.
#pragma once

#include <bitset>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "edge/secret_mask.h"
#include "edge/waf.h"
#include "waf/rule_set.h"

namespace leeward::edge {

// Which requests are written.
struct AuditPolicy {
  enum class Which : std::uint8_t { kNone, kRelevant, kAll };
  Which which = Which::kNone;
  std::bitset<600> statuses;       // kRelevant: these, whatever the rules found
  std::size_t body_bytes_max = 0;  // of a request's body; 0: nothing of it

  // As leeward.yaml says, or else (WafAudit::kRules) as the rules' SecAuditEngine,
  // SecAuditLogRelevantStatus and SecAuditLogParts do. kInvalid "SecAuditLogRelevantStatus: 'TEXT'
  // is no regular expression".
  static Result<AuditPolicy> of(const EdgeWaf& settings, const waf::Settings& rules);
};

struct AuditEntry {
  InspectedRequest request;    // its body, as much of it as the policy has room for
  std::size_t body_bytes = 0;  // of the whole of it
  WafVerdict verdict;
  bool enforced = false;  // of the mode
  std::string id;
  WallTime began;
  int status = 0;
};

bool is_relevant(const AuditPolicy& policy, const AuditEntry& entry);
// Appends a line.
void format_audit(const AuditEntry& entry, const SecretMask& mask, std::string& out);

}  // namespace leeward::edge
