// Connections passed on as they are, bytes both ways.
//
// For sandboxes, their only ways out: each grant has a listener inside; whoever connects there is
// connected to the granted server by this process. The sandbox never holds a socket of the host's
// network, so it can reach that one address and port and nothing else. And for a port whose servers
// change: the functions of a tier until its instances are ready (open(), set_servers()).
//
// One thread per relay, from start() to destruction, which closes every connection. A bounded
// number at once; further ones wait in the listener's backlog. Each direction holds at most
// kBufferBytes that the other side has not taken.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "functions/invocation.h"

namespace leeward::functions {

class GrantRelay {
 public:
  static constexpr std::size_t kConnectionsMax = 256;       // of a sandbox
  static constexpr std::size_t kPortConnectionsMax = 4096;  // of open()
  static constexpr std::size_t kBufferBytes = 32u << 10;

  // `listeners[i]` leads to `grants[i]`. kInvalid for an address that is no IPv4 address.
  static Result<std::unique_ptr<GrantRelay>> start(std::vector<UniqueFd> listeners,
                                                   const std::vector<Grant>& grants);
  // Listens on `port`; each connection goes to one of `servers`, in turn. kIo when it cannot be
  // listened on, kInvalid for an address that is no IPv4 address, or no server.
  static Result<std::unique_ptr<GrantRelay>> open(const Endpoint& port,
                                                  const std::vector<Endpoint>& servers);
  // Of open(): where connections go from now on; those that there are stay. Same errors. From any
  // thread.
  Status set_servers(const std::vector<Endpoint>& servers);
  ~GrantRelay();
  GrantRelay(const GrantRelay&) = delete;
  GrantRelay& operator=(const GrantRelay&) = delete;

 private:
  class Loop;
  static Result<std::unique_ptr<GrantRelay>> run(std::unique_ptr<Loop> loop);
  GrantRelay(std::unique_ptr<Loop> loop, UniqueFd stop);
  std::unique_ptr<Loop> loop_;
  UniqueFd stop_;  // written to: the thread ends
  std::thread thread_;
};

}  // namespace leeward::functions
