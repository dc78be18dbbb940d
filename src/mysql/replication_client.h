// Our own replication client: a connection to a MariaDB or MySQL server that reads its binary log
// as a replica does, without libmariadb (docs/adr/0010). TCP, TLS, log-in by mysql_native_password,
// caching_sha2_password or client_ed25519, COM_BINLOG_DUMP and COM_BINLOG_DUMP_GTID, semi-sync.
//
// Not thread-safe: one thread owns a client. The socket does not block; every call has a deadline.
// After any error the object is broken and is replaced: connect again, start from the last durable
// position. Memory is the receive buffer and no more; an event that does not fit comes in parts.
// What is not read stays in the socket, so a caller that stops reading slows the source down, as it
// should.
//
// Errors name the source, the account, and where in the stream it happened:
//   kUnauthorized  the server refuses the account, or the log-in is not safe on this connection
//   kUnavailable   nobody listens, or the connection ended; connect again
//   kTimeout       the deadline passed
//   kNotFound      the source no longer has, or never had, the requested position
//   kRefused       TLS: certificate expired, wrong authority, wrong name; or TLS wanted and not
//   offered kCorrupt       bytes that are not the protocol or not a binary log; wrong checksum
//   kUnhealthy     any other error that the server reports, with its number and text
//
// Sources: MariaDB Knowledge Base "Client/Server Protocol" and "Replication Protocol"; MySQL source
// documentation "Protocol".
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "model/platform.h"
#include "mysql/stream.h"
#include "mysql/tls.h"

namespace leeward::mysql {

struct ReplicationSource {
  Endpoint endpoint;
  std::string user;
  std::string password;
  TlsOptions tls;
};

enum class Flavor : std::uint8_t { kMariadb, kMysql };

struct DumpRequest {
  std::uint32_t server_id = 0;  // unique among the source's replicas, or they drop each other
  StreamPosition from;
  bool by_gtid = true;  // start at from.gtids or from.executed, empty: at the first transaction;
                        // else at from.log
  bool stop_at_end = false;  // end of stream at the present end of the log, instead of waiting
  bool strict = true;        // MariaDB: refuse to start where the source's history has a hole
  bool annotations = false;  // statements as comments before their rows
  bool semi_sync = false;    // acknowledge(); the source waits for it if it is set up to
  Duration heartbeat = 1s;   // an idle source sends one that often
  std::string report_host = "leeward";  // shown by SHOW REPLICA HOSTS
};

// The next event, or a part of a large one. Views live until the next call of the client.
struct Received {
  Event event;             // parsed; of a part that is not the first, only `part` is set
  std::string_view part;   // these bytes of the event as sent, checksum included
  std::uint64_t size = 0;  // of the whole event as sent, checksum included
  bool first = true;       // both for an event in one piece
  bool last = true;        // checksum verified: an event whose last part does not come is void
  bool checksummed = true;
  bool wants_acknowledgement = false;  // semi-sync: the source's commit waits for it; with `last`
};

class ReplicationClient {
 public:
  // Events up to half of it come in one piece, and parts are at most this large.
  static constexpr std::size_t kBufferBytes = 8u << 20;

  static Result<std::unique_ptr<ReplicationClient>> connect(const ReplicationSource& source,
                                                            BootTime deadline);
  ~ReplicationClient();

  Flavor flavor() const;
  const std::string& server_version() const;
  bool encrypted() const;
  // First row of an answer; empty when it has none. For questions before start(); answers above 1
  // MiB are kRefused.
  Result<std::vector<std::optional<std::string>>> ask(std::string_view sql, BootTime deadline);

  // Registers as a replica and asks for the stream. Errors about the position come with the first
  // next(), as the protocol has it.
  Status start(const DumpRequest& request, BootTime deadline);

  // The next event, heartbeats and artificial ones included. nullopt: the end of the stream, which
  // only stop_at_end has. kTimeout leaves the client usable: nothing was there in time.
  Result<std::optional<Received>> next(BootTime deadline);
  // Whether next() can return without waiting: more has already been received. A caller that groups
  // its syncs does one when this turns false.
  bool buffered() const;

  // Semi-sync: tells the source that everything up to `log` is safe here. Call it only when that is
  // true: the source then lets the commit succeed.
  Status acknowledge(const LogPosition& log, BootTime deadline);

  // Where the stream is: transactions passed whole, and the source's log position.
  const StreamTracker& tracker() const;

 private:
  class Impl;
  explicit ReplicationClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::mysql
