// The gateway: the only path from applications to a database, and so the place where the right to
// write is enforced (design §5.4). It relays MariaDB or Redis connections while this site holds the
// writer lease, follows the writer to the other site when it does not, and pauses clients instead
// of failing them while the writer moves on purpose.
//
//   application ──> listen ──> Gateway ──┬─> local_database          (this site is the writer)
//   other site's gateway ──> peer_listen ┘
//                                        └─> the writer site's peer_listen   (applications only)
//
// Fencing. In local mode a byte passes, in either direction, only while BootClock::now() is before
// the lease's deadline, asked anew before each send. A timer drops every connection at the deadline
// even if nobody calls. A process that was stopped past its deadline forwards nothing when it
// resumes, not even what it had already read.
//
// Moving (MariaDB). The gateway follows the client/server protocol of each session. One that is
// idle outside a transaction keeps its client while its next command waits; when there is a writer
// again, the gateway logs in there as the same user, restores the session (database, SET
// statements, prepared statements, last insert id) and sends the command. The client sees a pause.
// It needs no password for this: Options::account_lookup gives the stored verifier of the account,
// from which and from the client's own answer to the first handshake it recovers what a later
// mysql_native_password login needs (kept in locked memory, never logged).
//   Never sent twice: a command of which one byte went to a database may have run. Its session is
// closed if the database goes away. The one exception is an explicit "not executed" of the other
// site's gateway, which held that command back.
//   Closed instead of moved, at the next transaction boundary: sessions with temporary tables, LOCK
// TABLES, GET_LOCK, HANDLER, XA, user variables set by := or INTO, CALL or PREPARE in SQL, an open
// cursor, COM_CHANGE_USER, another authentication than mysql_native_password, or more state than
// the bounds below. State that SQL hides (a stored function that sets a user variable) is not seen.
//   TLS, compression and session tracking are not offered to clients; listen on loopback.
//
// Redis. Connections are relayed as bytes. In hold no new byte goes to the server; new clients
// wait, and connected ones are closed when the writer moves, because their state is not known.
//
// Bounds. 256 KiB are buffered per direction, then the sender is no longer read. At connections_max
// a client gets error 1040 ("-ERR max number of clients" from Redis) and is closed. Waiting work is
// refused after hold_timeout. A session remembers 64 SET statements of 16 KiB in all and 64
// prepared statements of 256 KiB in all, and one of more cannot move. 64 pipelined commands are in
// flight, then the client is no longer read.
//
// Threads. All methods may be called from any thread; one thread of its own does all the work.
// Except extend(), each call returns after its effect: after refuse() nothing is forwarded.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "model/ids.h"
#include "model/platform.h"
#include "model/status.h"

namespace leeward::gateway {

// SHA1(SHA1(password)), what MariaDB stores for mysql_native_password
// (mysql.global_priv, authentication_string, without the '*' and from hexadecimal).
using AccountVerifier = std::array<std::uint8_t, 20>;

// The verifier of an account, nullopt if there is none. `host` is the address that the database
// sees the gateway come from. Called on the gateway's thread at each login, so it must not block:
// answer from memory. A wrong or stale answer is noticed, and then that session cannot move.
using AccountLookup =
    std::function<std::optional<AccountVerifier>(std::string_view user, std::string_view host)>;

struct Options {
  std::string name;                  // of the database in leeward.yaml: metric label, log field
  Engine engine = Engine::kMariadb;  // which protocol to follow
  std::string site_name;             // for the texts that clients read
  Endpoint listen;                   // applications; port 0 takes a free one
  Endpoint peer_listen;              // the other site's gateway; empty host: none
  Endpoint local_database;           // for a serve_local that names none
  Duration hold_timeout = 8s;        // how long work may wait for a writer before it is refused
  Duration connect_timeout = 1s;     // for one attempt to reach a database or gateway
  std::size_t connections_max = 4096;
  AccountLookup account_lookup;  // MariaDB only; empty: logged-in sessions cannot move
  Logger logger;
  Registry* registry = nullptr;  // optional; must outlive the gateway
};

struct Stats {
  GatewayMode mode = GatewayMode::kRefuse;
  Epoch epoch;                // of the local lease; 0 without one
  std::size_t clients = 0;    // open connections, peers included
  std::size_t peers = 0;      // of these, from the other site's gateway
  std::size_t in_flight = 0;  // sessions with a command running
  std::size_t in_transaction = 0;
  std::size_t parked = 0;            // clients whose work waits for a writer
  std::size_t pinned = 0;            // sessions that could not move now even when idle
  std::uint64_t accepted = 0;        // since the start, as all below
  std::uint64_t refused = 0;         // turned away: no writer, too many clients, waited too long
  std::uint64_t moved = 0;           // sessions restored on another backend connection
  std::uint64_t closed_by_move = 0;  // dropped because they could not move, or were not drained
  std::uint64_t fenced = 0;          // dropped at a lease's end
  std::uint64_t bytes_to_database = 0;
  std::uint64_t bytes_to_clients = 0;
};

class Gateway {
 public:
  // Listens and starts in refuse mode. kInvalid for an unusable option, kIo if an address cannot be
  // listened on.
  static Result<std::unique_ptr<Gateway>> start(Options options);
  // Drops every connection and joins the thread.
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // Drops every client. New ones get an error that names the site and the reason (MariaDB: 1290,
  // SQLSTATE HY000; Redis: -READONLY) and are closed.
  void refuse(std::string reason);

  // Planned move: keeps clients, lets running commands and open transactions finish where they are
  // (in local mode: while the lease lasts; extend() goes on working), and parks all other work.
  void hold();

  // Forwards to the local database while BootClock::now() < deadline. The same epoch again keeps
  // every session and can only lengthen the lease, another epoch moves them to new connections.
  // After the deadline the gateway is in refuse mode (or still in hold), until told otherwise.
  void serve_local(Epoch epoch, BootTime deadline);
  // The same to another server of this site: a change of server moves the sessions as another epoch
  // does. Whoever calls it has seen to it that nothing of the former server may count any more.
  void serve_local(Epoch epoch, BootTime deadline, const Endpoint& database);

  // The lease of serve_local ends now: nothing that touches the local database passes any more. In
  // hold, sessions that can wait go on waiting; all others are dropped.
  void give_up_lease();

  // Lengthens the lease of serve_local. Cheap, never waits for the gateway's thread. False, and no
  // effect, for another epoch and once the old deadline has passed: then the gateway has fenced
  // itself (or is about to) and only serve_local opens it again.
  [[nodiscard]] bool extend(Epoch epoch, BootTime deadline);

  // Follows the writer: forwards applications to the other site's peer_listen. Peers are refused,
  // so that two gateways never send a client round in circles.
  void serve_remote(Endpoint peer);

  // In hold: no command is running and no transaction is open. Redis: no byte moved for 20 ms.
  bool drained();

  // Closes the sessions that keep drained() false.
  void end_transactions(std::string reason);

  Stats stats();
  Endpoint listen_endpoint() const;       // with the real port
  Endpoint peer_listen_endpoint() const;  // port 0 without a peer listener

 private:
  class Impl;
  explicit Gateway(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::gateway
