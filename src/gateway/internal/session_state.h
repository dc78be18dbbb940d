// What a session has set up on its server and needs again on another one: database, SET statements,
// prepared statements and the like, and the commands that restore it. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/internal/statement.h"

namespace leeward::gateway {

struct PreparedStatement {
  std::uint32_t backend_id = 0;
  std::string text;
  std::string database;  // current when it was prepared
  std::uint16_t parameters = 0;
  StatementTraits traits;
  std::string types;        // of the parameters as last sent, two bytes each
  bool types_lost = false;  // the present server does not know them
  bool long_data = false;   // has parameter data that only the present server holds
};

// One command of a replay; its answer is consumed by the gateway.
struct ReplayCommand {
  std::uint8_t command = 0;
  std::uint32_t client_id = 0;  // of the statement that it prepares
  std::string packet;
};

class SessionState {
 public:
  static constexpr std::size_t kSetsMax = 64;
  static constexpr std::size_t kSetBytesMax = 16u << 10;
  static constexpr std::size_t kPreparedMax = 64;
  static constexpr std::size_t kPreparedBytesMax = 256u << 10;
  static constexpr std::uint16_t kParametersMax = 1024;

  std::string database;
  std::uint64_t last_insert_id = 0;

  // A SET that succeeded. A repeated constant SET takes the place of its earlier self.
  void record_set(std::string text, const StatementTraits& traits);
  void record_option(std::uint8_t option) { option_ = option; }
  // Another statement succeeded: what held for the next transaction only is used up.
  void statement_ran() { once_.clear(); }

  // Statements go by an id of the gateway's own, which stays the same when the session moves.
  std::uint32_t add_prepared(PreparedStatement statement);
  PreparedStatement* find_prepared(std::uint32_t client_id);
  void close_prepared(std::uint32_t client_id);

  // COM_RESET_CONNECTION: all but the database is forgotten.
  void reset();

  // More was set up than is remembered, or something only the present server holds.
  bool replayable() const;
  // In order. Also notes that the new server knows no parameter types.
  std::vector<ReplayCommand> replay();

 private:
  struct SetText {
    std::string text;
    bool computed;
  };
  std::vector<SetText> sets_;
  std::size_t set_bytes_ = 0;
  std::vector<std::string> once_;
  int option_ = -1;
  std::map<std::uint32_t, PreparedStatement> prepared_;
  std::size_t prepared_bytes_ = 0;
  std::uint32_t next_id_ = 1;
  bool overflow_ = false;
};

}  // namespace leeward::gateway
