#include "edge/modsecurity.h"

#include <modsecurity/intervention.h>
#include <modsecurity/modsecurity.h>
#include <modsecurity/rule_message.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>

namespace leeward::edge {
namespace {

constexpr std::size_t kMessageMax = 256;

std::string trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.remove_suffix(1);
  return std::string(text);
}

// What is between `before` and the next `after`, and `rest` behind it.
std::optional<std::string_view> between(std::string_view& rest, std::string_view before,
                                        std::string_view after) {
  const std::size_t at = rest.find(before);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view found = rest.substr(at + before.size());
  const std::size_t end = found.find(after);
  if (end == std::string_view::npos) return std::nullopt;
  rest = found.substr(end + after.size());
  return found.substr(0, end);
}

// "Rules error. File: /x. Line: 1. Column: 7. Invalid input: …" as "/x:1:7: Invalid input: …".
std::string place_first(const std::string& file, const std::string& text) {
  std::string_view rest = text;
  const auto path = between(rest, "File: ", ". Line: ");
  if (!path) return file + ": " + trimmed(text);
  const std::size_t dot = rest.find(". Column: ");
  if (dot == std::string_view::npos) return file + ": " + trimmed(text);
  const std::string_view line = rest.substr(0, dot);
  const auto column = between(rest, ". Column: ", ". ");
  if (!column) return file + ": " + trimmed(text);
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  return fmt::format("{}:{}:{}: {}", *path, line, *column, trimmed(rest));
}

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// Owns what an intervention points at.
class Intervention {
 public:
  Intervention() { modsecurity::intervention::clean(&it_); }
  ~Intervention() { modsecurity::intervention::free(&it_); }
  Intervention(const Intervention&) = delete;
  Intervention& operator=(const Intervention&) = delete;
  modsecurity::ModSecurityIntervention* get() { return &it_; }
  std::string_view url() const { return it_.url == nullptr ? "" : it_.url; }
  std::string_view log() const { return it_.log == nullptr ? "" : it_.log; }
  int status() const { return it_.status; }

 private:
  modsecurity::ModSecurityIntervention it_;
};

// What leeward.yaml decides. Directives in a second file would not do: what the first one sets
// stays.
void overrule(modsecurity::RulesSet& set, const EdgeWaf& settings) {
  using Set = modsecurity::RulesSet;
  set.m_secRuleEngine = Set::EnabledRuleEngine;
  set.m_secRequestBodyAccess = Set::TrueConfigBoolean;
  set.m_requestBodyLimit.m_set = true;
  set.m_requestBodyLimit.m_value = static_cast<double>(settings.body_bytes_max);
  set.m_requestBodyLimitAction = Set::ProcessPartialBodyLimitAction;
}

RuleMatch match_of(const modsecurity::RuleMessage& m) {
  return {.rule = fmt::format("{}", m.m_ruleId), .message = m.m_message.substr(0, kMessageMax)};
}

// A disruptive rule with `nolog` leaves no message; its line of the error log names it.
RuleMatch match_of(std::string_view log) {
  RuleMatch match{.rule = "unnamed", .message = {}};
  if (const auto id = between(log, "[id \"", "\"]")) match.rule = *id;
  if (const auto message = between(log, "[msg \"", "\"]"))
    match.message = message->substr(0, kMessageMax);
  return match;
}

void add_matches(const modsecurity::Transaction& transaction, WafVerdict& verdict) {
  const modsecurity::RuleMessage* decisive = nullptr;
  for (const auto& message : transaction.m_rulesMessages) {
    if (message.m_isDisruptive) decisive = &message;
    if (verdict.matches.size() < WafVerdict::kMatchesMax)
      verdict.matches.push_back(match_of(message));
  }
  if (decisive != nullptr && verdict.kind == WafVerdict::Kind::kBlock)
    verdict.decisive = match_of(*decisive);
}

// True: the transaction is over.
bool intervened(modsecurity::Transaction& transaction, WafVerdict& verdict) {
  Intervention it;
  if (!transaction.intervention(it.get())) return false;
  verdict.kind = WafVerdict::Kind::kBlock;
  verdict.decisive = match_of(it.log());
  const bool redirect = !it.url().empty() && printable(it.url());
  verdict.status = it.status();
  if (redirect) {
    verdict.location = it.url();
    if (verdict.status < 300 || verdict.status > 399) verdict.status = 302;
  } else if (verdict.status < 400 || verdict.status > 599) {
    verdict.status = 403;
  }
  return true;
}

void run_phases(modsecurity::Transaction& transaction, const InspectedRequest& request,
                WafVerdict& verdict) {
  const std::string client = to_string(request.client);
  // The address that the client connected to is not known here; the engine only puts it into logs.
  transaction.processConnection(client.c_str(), request.client.port, "", 0);
  transaction.processURI(request.target.c_str(), request.method.c_str(), request.protocol.c_str());
  for (const auto& [name, value] : request.fields) transaction.addRequestHeader(name, value);
  transaction.processRequestHeaders();
  if (intervened(transaction, verdict)) return;
  if (request.body_inspected > 0) {
    transaction.appendRequestBody(reinterpret_cast<const unsigned char*>(request.body.data()),
                                  std::min(request.body_inspected, request.body.size()));
    if (intervened(transaction, verdict)) return;
  }
  transaction.processRequestBody();  // phase 2, also without a body
  intervened(transaction, verdict);
}

WafVerdict no_verdict(std::string why) {
  WafVerdict verdict;
  verdict.kind = WafVerdict::Kind::kError;
  verdict.decisive = {.rule = {}, .message = std::move(why)};
  return verdict;
}

}  // namespace

class ModSecurityLibrary {
 public:
  ModSecurityLibrary() {
    library_.setConnectorInformation("Leeward " LEEWARD_VERSION);
    // What rules log is taken from the transaction; without a callback it would go to stderr.
    library_.setServerLogCb([](void*, const void*) {}, modsecurity::RuleMessageLogProperty);
  }
  modsecurity::ModSecurity& get() { return library_; }

 private:
  modsecurity::ModSecurity library_;
};

struct ModSecurityEngine::Rules {
  modsecurity::RulesSet set;
  int count = 0;
};

ModSecurityEngine::ModSecurityEngine(std::shared_ptr<ModSecurityLibrary> library,
                                     std::unique_ptr<Rules> rules)
    : library_(std::move(library)), rules_(std::move(rules)) {}

ModSecurityEngine::~ModSecurityEngine() = default;

std::size_t ModSecurityEngine::rules() const { return static_cast<std::size_t>(rules_->count); }

Result<std::shared_ptr<const ModSecurityEngine>> ModSecurityEngine::load(
    const EdgeWaf& settings, const ModSecurityEngine* before) {
  const std::string& file = settings.rules_file;
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error))
    return fail(Code::kNotFound, "{}: there is no such rules file", file);
  auto library = before != nullptr ? before->library_ : std::make_shared<ModSecurityLibrary>();
  auto rules = std::make_unique<Rules>();
  try {
    rules->count = rules->set.loadFromUri(file.c_str());
    if (rules->count < 0)
      return fail(Code::kInvalid, "{}", place_first(file, rules->set.getParserError()));
    if (rules->count == 0)
      return fail(Code::kInvalid, "{}: there is no rule in it; nothing would be refused", file);
  } catch (const std::exception& e) {
    return fail(Code::kInvalid, "{}: the rules cannot be loaded: {}", file, e.what());
  }
  overrule(rules->set, settings);
  return std::shared_ptr<const ModSecurityEngine>(
      new ModSecurityEngine(std::move(library), std::move(rules)));
}

WafVerdict ModSecurityEngine::inspect(const InspectedRequest& request) const {
  try {
    modsecurity::Transaction transaction(&library_->get(), &rules_->set, nullptr);
    WafVerdict verdict;
    run_phases(transaction, request, verdict);
    transaction.processLogging();
    add_matches(transaction, verdict);
    return verdict;
  } catch (const std::exception& e) {
    return no_verdict(e.what());
  }
}

}  // namespace leeward::edge
