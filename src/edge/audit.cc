#include "edge/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <regex>

#include "base/log.h"
#include "edge/audit_body.h"

namespace leeward::edge {
namespace {

class Object {
 public:
  explicit Object(std::string& out) : out_(out) { out_ += '{'; }
  ~Object() { out_ += '}'; }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  std::string& key(std::string_view name) {
    if (any_) out_ += ',';
    any_ = true;
    append_json_string(out_, name);
    out_ += ':';
    return out_;
  }
  void text(std::string_view name, std::string_view value) { append_json_string(key(name), value); }
  void number(std::string_view name, long long value) {
    fmt::format_to(std::back_inserter(key(name)), "{}", value);
  }

 private:
  std::string& out_;
  bool any_ = false;
};

void append_message(const RuleMatch& match, std::string& out) {
  Object message(out);
  message.text("message", match.message);
  Object details(message.key("details"));
  details.text("ruleId", match.rule);
  details.text("match", match.variable.empty() ? std::string_view() : match.variable);
  details.text("data", match.value);
  details.number("severity", match.severity);
  details.text("file", match.place);
}

std::string_view content_type_of(const InspectedRequest& request) {
  for (const auto& [name, value] : request.fields)
    if (same_name(name, "content-type")) return value;
  return {};
}

void append_request(const AuditEntry& entry, const SecretMask& mask, std::string& out) {
  Object request(out);
  request.text("method", entry.request.method);
  request.text("http_version", entry.request.protocol);
  request.text("hostname", entry.request.host);
  request.text("uri", mask.target(entry.request.target));
  if (entry.body_bytes > 0) {
    request.text("body", entry.request.body_coded
                             ? SecretMask::kMasked
                             : std::string_view(audit_body(content_type_of(entry.request),
                                                           entry.request.body, mask)));
    request.number("body_bytes", static_cast<long long>(entry.body_bytes));
  }
  Object headers(request.key("headers"));
  for (const auto& [name, value] : entry.request.fields)
    headers.text(name, mask.is_secret(name)         ? SecretMask::kMasked
                       : same_name(name, "referer") ? std::string_view(mask.target(value))
                                                    : std::string_view(value));
}

}  // namespace

Result<AuditPolicy> AuditPolicy::of(const EdgeWaf& settings, const waf::Settings& rules) {
  AuditPolicy policy;
  policy.body_bytes_max = settings.audit_body_bytes_max;
  switch (settings.audit_log) {
    case WafAudit::kNone:
      return policy;
    case WafAudit::kRelevant:
      policy.which = Which::kRelevant;
      return policy;
    case WafAudit::kAll:
      policy.which = Which::kAll;
      return policy;
    case WafAudit::kRules:
      break;
  }
  if (rules.audit_parts.find_first_of("CI") == std::string::npos) policy.body_bytes_max = 0;
  if (same_name(rules.audit_engine, "On"))
    policy.which = Which::kAll;
  else if (same_name(rules.audit_engine, "RelevantOnly"))
    policy.which = Which::kRelevant;
  const std::string& relevant_status = rules.audit_relevant_status;
  if (policy.which != Which::kRelevant || relevant_status.empty()) return policy;
  try {
    const std::regex pattern(relevant_status);
    for (std::size_t status = 100; status < policy.statuses.size(); ++status)
      policy.statuses[status] = std::regex_search(fmt::format("{}", status), pattern);
  } catch (const std::regex_error&) {
    return fail(Code::kInvalid, "SecAuditLogRelevantStatus: '{}' is no regular expression",
                relevant_status);
  }
  return policy;
}

bool is_relevant(const AuditPolicy& policy, const AuditEntry& entry) {
  if (policy.which != AuditPolicy::Which::kRelevant)
    return policy.which == AuditPolicy::Which::kAll;
  const auto status = static_cast<std::size_t>(entry.status);
  return (status < policy.statuses.size() && policy.statuses[status]) ||
         entry.verdict.kind != WafVerdict::Kind::kPass ||
         std::any_of(entry.verdict.matches.begin(), entry.verdict.matches.end(),
                     [](const RuleMatch& match) { return match.audit; });
}

void format_audit(const AuditEntry& entry, const SecretMask& mask, std::string& out) {
  {
    Object line(out);
    Object t(line.key("transaction"));
    t.text("client_ip", to_string(entry.request.client));
    t.text("time_stamp", format_wall(entry.began));
    t.number("client_port", entry.request.client.port);
    t.text("unique_id", entry.id);
    append_request(entry, mask, t.key("request"));
    {
      Object response(t.key("response"));
      response.number("http_code", entry.status);
    }
    {
      Object producer(t.key("producer"));
      producer.text("modsecurity", "Leeward");
      producer.text("secrules_engine", entry.enforced ? "Enabled" : "DetectionOnly");
    }
    std::string& messages = t.key("messages");
    messages += '[';
    bool first = true;
    for (const RuleMatch& match : entry.verdict.matches) {
      if (!match.audit) continue;
      if (!first) messages += ',';
      first = false;
      append_message(match, messages);
    }
    messages += ']';
  }
  out += '\n';
}

}  // namespace leeward::edge
