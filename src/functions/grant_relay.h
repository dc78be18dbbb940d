// The only ways out of a sandbox: connections to servers that it is granted.
//
// Each grant has a listener inside the sandbox; whoever connects there is connected to the granted
// server by this process, and bytes are passed on both ways. The sandbox never holds a socket of
// the host's network, so it can reach that one address and port and nothing else.
//
// One thread per relay, from start() to destruction, which closes every connection. At most
// kConnectionsMax at once; further ones wait in the listener's backlog. Each direction holds at
// most kBufferBytes that the other side has not taken.
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
  static constexpr std::size_t kConnectionsMax = 256;
  static constexpr std::size_t kBufferBytes = 32u << 10;

  // `listeners[i]` leads to `grants[i]`. kInvalid for an address that is no IPv4 address.
  static Result<std::unique_ptr<GrantRelay>> start(std::vector<UniqueFd> listeners,
                                                   const std::vector<Grant>& grants);
  ~GrantRelay();
  GrantRelay(const GrantRelay&) = delete;
  GrantRelay& operator=(const GrantRelay&) = delete;

 private:
  class Loop;
  GrantRelay(std::unique_ptr<Loop> loop, UniqueFd stop);
  std::unique_ptr<Loop> loop_;
  UniqueFd stop_;  // written to: the thread ends
  std::thread thread_;
};

}  // namespace leeward::functions
