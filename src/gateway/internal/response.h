// Follows the server's answer to one command, packet by packet, to know when it ends and what
// status it left. It looks at the first bytes of each packet only; result sets stream by. Pure.
// REQUIRES a session without CLIENT_DEPRECATE_EOF, progress reports and metadata caching, which the
// gateway does not offer (mysql_wire.h).
#pragma once

#include <cstdint>
#include <optional>

#include "gateway/internal/mysql_wire.h"

namespace leeward::gateway {

class ResponseTracker {
 public:
  // Enough of a packet for packet(): the longest thing read is an OK packet's status.
  static constexpr std::size_t kPrefix = 24;

  enum class Result : std::uint8_t {
    kMore,       // the answer goes on
    kDone,       // it is complete
    kWantsData,  // the server waits for packets that are no commands (a file, a password)
    kMalformed,  // not an answer to this command
  };
  struct Prepared {
    std::uint32_t id = 0;
    std::uint16_t parameters = 0;
  };

  void expect(std::uint8_t command);
  // The next packet: its payload's whole length and its first min(length, kPrefix) bytes.
  Result packet(std::uint32_t length, wire::Bytes prefix);

  bool failed() const { return failed_; }  // the answer's last packet was an error
  std::optional<Prepared> prepared() const { return prepared_; }
  std::uint64_t last_insert_id() const { return last_insert_id_; }  // 0: this answer set none
  std::uint16_t status() const { return status_; }  // of the last packet that carried one

 private:
  enum class Part : std::uint8_t {
    kFirst,
    kColumns,
    kRows,
    kFieldList,
    kOnePacket,
    kPrepareFirst,
    kPrepareParameters,
    kPrepareColumns,
    kChangeUser,
    kEndless,
  };
  Result first(std::uint32_t length, wire::Bytes p);
  Result ok(wire::Bytes p);
  Result end_of_result(wire::Bytes p);
  Result prepare_first(wire::Bytes p);
  Result error();

  Part part_ = Part::kFirst;
  bool failed_ = false;
  std::uint16_t status_ = wire::kAutocommit;
  std::uint64_t last_insert_id_ = 0;
  std::uint16_t columns_ = 0;
  std::optional<Prepared> prepared_;
};

}  // namespace leeward::gateway
