#include "waf/transaction.h"

#include <algorithm>

#include "waf/internal/runner.h"

namespace leeward::waf {

Workspace::Workspace(std::shared_ptr<const RuleSet> rules)
    : rules_(std::move(rules)), rooms_(std::make_unique<Rooms>(*rules_->program_)) {}
Workspace::~Workspace() = default;
Workspace::Workspace(Workspace&&) noexcept = default;

Transaction::Transaction(Workspace& workspace, Collections& collections, Time time)
    : runner_(std::make_unique<Runner>(*workspace.rooms_, collections, time)) {}
Transaction::~Transaction() = default;

bool Transaction::request_headers(const RequestHead& head) {
  if (runner_->engine_off()) return false;
  runner_->take_head(head);
  runner_->run_phase(1);
  return runner_->intervention.due;
}

void Transaction::request_headers_again(const RequestHead& head) {
  runner_->write_collections(false);
  request_headers(head);
  runner_->write_collections(true);
  runner_->intervention = {};
}

bool Transaction::request_body(std::string_view body) {
  if (runner_->engine_off() || runner_->intervention.due) return runner_->intervention.due;
  if (!runner_->body_access()) body = {};
  const std::size_t most = runner_->settings().request_body_bytes_max;
  bool whole = true;
  if (body.size() > most) {
    if (runner_->settings().request_body_reject && runner_->refuse_body()) return true;
    body = body.substr(0, most);
    runner_->note_partial_body();
    whole = false;
  }
  const auto readings = runner_->unpack(body, whole);
  if (!readings) return true;
  runner_->take_body(readings->body);
  runner_->take_other_reading(readings->other);
  runner_->run_phase(2);
  return runner_->intervention.due;
}

bool Transaction::response_headers(int status, std::string_view protocol,
                                   std::span<const HeaderField> fields) {
  if (runner_->engine_off() || runner_->intervention.due) return runner_->intervention.due;
  runner_->take_response_head(status, protocol, fields);
  runner_->run_phase(3);
  return runner_->intervention.due;
}

bool Transaction::response_body(std::string_view body) {
  if (runner_->engine_off() || runner_->intervention.due) return runner_->intervention.due;
  if (!runner_->response_access()) body = {};
  runner_->take_response_body(body.substr(0, runner_->settings().response_body_bytes_max));
  runner_->run_phase(4);
  return runner_->intervention.due;
}

// Rules of phase 5 run after an intervention too; they can no longer intervene.
void Transaction::logging() {
  Intervention before = std::exchange(runner_->intervention, {});
  runner_->run_phase(5);
  runner_->intervention = std::move(before);
}

const Intervention& Transaction::intervention() const { return runner_->intervention; }
std::span<const MatchedRule> Transaction::matches() const { return runner_->matches(); }
std::string_view Transaction::tx(std::string_view name) const { return runner_->tx(name); }
std::uint32_t Transaction::limits() const { return runner_->limits; }
bool Transaction::unfinished() const { return runner_->unfinished; }

}  // namespace leeward::waf
