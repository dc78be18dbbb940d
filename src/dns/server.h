// The DNS server of one site: one zone over UDP and TCP on one address. It is a data plane: it
// takes its state from publish() and replace(), keeps it on disk, and goes on answering without
// anyone.
//
// Threads: one for each UDP socket (SO_REUSEPORT, recvmmsg/sendmmsg), one for all TCP connections;
// all are the server's own. start(), publish(), replace() and the destructor may be called from any
// thread; publish() and replace() wait for each other and for the disk, never for the answering
// threads, which see the change with the next message that they receive.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "dns/zone.h"
#include "model/ids.h"
#include "model/platform.h"

namespace leeward::dns {

// What TCP clients may use (RFC 7766 §6.2). At each bound a connection is closed, never a reply
// cut.
struct TcpLimits {
  // One more than this closes the connection that has been idle longest.
  std::size_t connections_max = 256;
  // Without a query begun or a reply waiting.
  Duration idle_timeout = 10s;
  // From the first octet of a query to its last, and from a reply to the client's reading it: a
  // client that trickles (slowloris) gets this long, however often it sends an octet.
  Duration progress_timeout = 5s;
  // Replies waiting for a slow reader; above it nothing more is read from that client.
  std::size_t pending_bytes_max = 64 << 10;
  // A longer query closes the connection. Real ones have some hundred octets.
  std::size_t query_bytes_max = 4096;
  // Queries of one connection answered before the others get their turn.
  std::size_t pipeline_max = 32;
};

struct ServerOptions {
  Endpoint listen;                 // IPv4; 0.0.0.0: all addresses; port 0: any free one
  unsigned threads = 1;            // UDP sockets, 1 to 64
  std::vector<std::string> sites;  // names by SiteId, for the state file, logs and metrics
  SiteId primary;                  // answered with until something else is known
  std::string state_path;          // directory must exist; empty: nothing outlives the process
  TcpLimits tcp;
  Logger logger;
  Registry* registry = nullptr;  // must outlive the server; null: not measured
};

class Server {
 public:
  // Answers before it returns: with the saved state, else with the primary. A corrupt state file is
  // logged, kept as PATH.corrupt and treated as absent. The serial starts above any saved one.
  // kInvalid: unusable options. kIo: the address or the state file cannot be used.
  static Result<std::unique_ptr<Server>> start(ServerOptions options,
                                               std::shared_ptr<const Zone> zone);
  ~Server();  // stops answering and joins the threads; at most a fraction of a second

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Sends clients to `active` from now on, as the service record of version `record_version` says
  // at `epoch`. On disk before it is answered. Repeating a publication is free and changes nothing;
  // each change makes the SOA serial grow.
  // kRefused (counted, logged): `epoch` is lower than the highest seen, or equal with an older
  // record; kConflict: the very same record named another site. kInvalid: no such site.
  // kIo: answered from now on, but not on disk; repeat it.
  Status publish(SiteId active, Epoch epoch, std::uint64_t record_version = 0);

  // Answers from `zone` from now on, with a serial above all earlier ones. kIo as above.
  Status replace(std::shared_ptr<const Zone> zone);

  Endpoint local() const;  // with the real port
  SiteId active() const;
  Epoch epoch() const;  // highest seen
  std::uint32_t serial() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::dns
