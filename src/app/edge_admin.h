// What the edge answers on its admin port: metrics for everybody, and for operators what the
// commands `leeward edge top | explain | purge | warm | bans | unban` and `leeward waf status` ask
// for.
#pragma once

#include "app/context.h"
#include "app/edge_rules.h"
#include "app/edge_waf.h"
#include "edge/cache.h"
#include "edge/edge.h"
#include "net/http.h"

namespace leeward::app {

// Lives no longer than what it is made with. Thread: any one at a time; nothing here waits for more
// than the edge's loops.
class EdgeAdmin {
 public:
  EdgeAdmin(const Context& context, edge::Edge& edge, edge::HttpCache& cache,
            const EdgeRules& rules, const EdgeWafRules& waf)
      : context_(context), edge_(edge), cache_(cache), rules_(rules), waf_(waf) {}

  net::HttpResponse answer(const net::HttpRequest& request);
  // What became of the last reload, for status and metrics.
  void note_reload(const Status& outcome) {
    reload_refused_ = outcome ? std::string() : outcome.error().message;
  }

 private:
  Result<std::string> read(const net::HttpRequest& request) const;
  Result<std::string> change(const net::HttpRequest& request);
  Result<std::string> purge(const std::string& body);
  Result<std::string> warm(const std::string& body);
  Result<std::string> explain(const net::HttpRequest& request) const;
  std::string bans() const;
  std::string firewall() const;
  Result<std::string> unban(const std::string& body);

  const Context& context_;
  edge::Edge& edge_;
  edge::HttpCache& cache_;
  const EdgeRules& rules_;
  const EdgeWafRules& waf_;
  std::string reload_refused_;  // why; empty: it was not
};

}  // namespace leeward::app
