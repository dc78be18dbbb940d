#include "engines.h"

#include <fmt/format.h>
#include <modsecurity/intervention.h>
#include <modsecurity/modsecurity.h>
#include <modsecurity/rule_message.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>

#include <cstdlib>

#include "waf/transaction.h"

// libmodsecurity loses a value of its collections now and then; that is not ours to find. Without a
// sanitizer nobody asks.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:modsecurity::collection\n"; }

namespace leeward::waf::compared {
namespace {

// Of every request, so that rules which look at it decide alike.
constexpr const char* kUniqueId = "170000000012.345678";

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(2);
}

class ModSecurityEngine final : public Engine {
 public:
  explicit ModSecurityEngine(const std::string& file) {
    library_.setServerLogCb([](void*, const void*) {}, modsecurity::RuleMessageLogProperty);
    if (rules_.loadFromUri(file.c_str()) < 0) give_up(rules_.getParserError());
  }

  Seen look(const Request& request) override {
    std::string id = kUniqueId;
    modsecurity::Transaction transaction(&library_, &rules_, id.data(), nullptr);
    Seen seen;
    run(transaction, request, seen);
    transaction.processLogging();
    for (const auto& message : transaction.m_rulesMessages) {
      seen.rules.insert(static_cast<std::uint32_t>(message.m_ruleId));
      seen.explanation += fmt::format("  {} {} [{}]\n", message.m_ruleId, message.m_message,
                                      message.m_match.substr(0, 300));
    }
    const auto score = transaction.m_collections.m_tx_collection->resolveFirst("anomaly_score");
    if (score != nullptr) seen.score = std::atoi(score->c_str());
    return seen;
  }

 private:
  static bool intervened(modsecurity::Transaction& transaction, Seen& seen) {
    modsecurity::ModSecurityIntervention it;
    modsecurity::intervention::clean(&it);
    const bool due = transaction.intervention(&it);
    if (due) seen.status = it.status;
    modsecurity::intervention::free(&it);
    return due;
  }
  static void run(modsecurity::Transaction& transaction, const Request& request, Seen& seen) {
    transaction.processConnection(request.client.c_str(), request.client_port, "127.0.0.1", 80);
    transaction.processURI(request.target.c_str(), request.method.c_str(),
                           request.protocol.c_str());
    for (const auto& [name, value] : request.fields) transaction.addRequestHeader(name, value);
    transaction.processRequestHeaders();
    if (intervened(transaction, seen)) return;
    if (!request.body.empty()) {
      transaction.appendRequestBody(reinterpret_cast<const unsigned char*>(request.body.data()),
                                    request.body.size());
      if (intervened(transaction, seen)) return;
    }
    transaction.processRequestBody();
    if (intervened(transaction, seen) || !request.answer) return;
    transaction.addResponseHeader("Content-Type", request.answer->type);
    transaction.processResponseHeaders(request.answer->status, "HTTP/1.1");
    if (intervened(transaction, seen)) return;
    const std::string& body = request.answer->body;
    transaction.appendResponseBody(reinterpret_cast<const unsigned char*>(body.data()),
                                   body.size());
    transaction.processResponseBody();
    intervened(transaction, seen);
  }

  modsecurity::ModSecurity library_;
  modsecurity::RulesSet rules_;
};

class OurEngine final : public Engine {
 public:
  OurEngine(const std::string& file, bool prefilter) {
    auto rules = RuleSet::load(file, {.prefilter = prefilter, .cache_file = {}});
    if (!rules) give_up(rules.error().message);
    workspace_ = std::make_unique<Workspace>(*rules);
  }

  Seen look(const Request& request) override {
    Transaction transaction(
        *workspace_, collections_,
        {.now = std::chrono::steady_clock::now(), .wall = std::chrono::system_clock::now()});
    std::vector<HeaderField> fields;
    for (const auto& [name, value] : request.fields) fields.push_back({name, value});
    RequestHead head;
    head.client_address = request.client;
    head.client_port = request.client_port;
    head.server_address = "127.0.0.1";
    head.server_port = 80;
    head.method = request.method;
    head.target = request.target;
    head.protocol = request.protocol;
    head.fields = fields;
    head.unique_id = kUniqueId;
    Seen seen;
    if (run(transaction, head, request)) seen.status = transaction.intervention().status;
    transaction.logging();
    for (const MatchedRule& matched : transaction.matches()) {
      if (!matched.told) continue;
      seen.rules.insert(matched.id);
      seen.explanation += fmt::format("  {} {} [{} = {}]\n", matched.id, matched.message,
                                      matched.variable, matched.value.substr(0, 300));
    }
    seen.score = std::atoi(std::string(transaction.tx("anomaly_score")).c_str());
    return seen;
  }

 private:
  static bool run(Transaction& transaction, const RequestHead& head, const Request& request) {
    if (transaction.request_headers(head) || transaction.request_body(request.body)) return true;
    if (!request.answer) return false;
    const HeaderField fields[] = {{"Content-Type", request.answer->type}};
    return transaction.response_headers(request.answer->status, "1.1", fields) ||
           transaction.response_body(request.answer->body);
  }

  std::unique_ptr<Workspace> workspace_;
  Collections collections_;
};

}  // namespace

std::unique_ptr<Engine> modsecurity(const std::string& file) {
  return std::make_unique<ModSecurityEngine>(file);
}
std::unique_ptr<Engine> ours(const std::string& file, bool prefilter) {
  return std::make_unique<OurEngine>(file, prefilter);
}

}  // namespace leeward::waf::compared
