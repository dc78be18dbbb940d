// Statements at the target, exactly once though the target cannot put them into a transaction.
//
// Before a statement runs, a row in leeward.stream_ddl says which one and how the objects that it
// changes are defined; afterwards the checkpoint moves past it. Found at a start with a checkpoint
// that has not moved, the row tells whether the statement ran: the definitions are others. If they
// are the same it runs (again: what changes no definition may run twice); if some changed and some
// did not, nobody can know, and the stream stops with the question.
#pragma once

#include <optional>
#include <string>

#include "replication/internal/statement.h"
#include "replication/internal/target.h"

namespace leeward::replication::internal {

// What is to become of a statement under a mapping.
enum class DdlAction : std::uint8_t { kSkip, kRun };
// kRefused: it names objects that have other names at the target, or both objects that are carried
// and objects that are not, or it is no statement that a stream may carry.
Result<DdlAction> decide(const LoggedQuery& query, const StatementInfo& info,
                         const Mapping& mapping);

class DdlExecutor {
 public:
  DdlExecutor(ApplySession& session, std::string task)
      : session_(session), task_(std::move(task)) {}

  // Reads what an earlier life left. Call once, before the first run().
  Status recover(const mysql::GtidPosition& checkpoint, BootTime deadline);

  // Runs the statement unless an earlier life did. The caller then moves the checkpoint.
  Outcome run(const LoggedQuery& query, const StatementInfo& info, const mysql::Gtid& gtid);

 private:
  struct Intent {
    std::string gtid;
    std::string definitions;
  };
  Result<std::string> definitions(const StatementInfo& info);
  Outcome execute(const LoggedQuery& query, const mysql::Gtid& gtid);
  Outcome failed(Error error);

  ApplySession& session_;
  const std::string task_;
  std::optional<Intent> left_;  // by an earlier life
};

}  // namespace leeward::replication::internal
