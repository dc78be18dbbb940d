// HAProxy's agent: takes requests that HAProxy offloads (waf/spop.h) and sets variables of the
// transaction that its rules look at. A connection is a thread; HAProxy keeps few of them, and
// sends several requests at once on each.
//
// A message has these arguments, all optional but method and uri: src, src_port, method, uri,
// version ("1.1"), headers (req.hdrs_bin), body (req.body). Variables: verdict ("pass", "block", in
// mode detect "detect"), status, rule, score.
//
// Bounds: kConnectionsMax connections, frames of spop::kFrameBytesMax.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "app/waf_judge.h"
#include "base/file.h"
#include "model/platform.h"

namespace leeward::app {

class SpoeAgent {
 public:
  static constexpr std::size_t kConnectionsMax = 256;

  static Result<std::unique_ptr<SpoeAgent>> start(const Endpoint& listen, WafJudge& judge,
                                                  const Logger& logger);
  ~SpoeAgent();  // closes all connections and waits for their threads

  Endpoint local() const { return local_; }

 private:
  struct Connection {
    UniqueFd socket;
    std::thread thread;
    std::atomic<bool> over{false};
  };

  SpoeAgent(UniqueFd listener, Endpoint local, WafJudge& judge, const Logger& logger);
  void accept_loop();
  void serve(Connection& connection);
  void reap();

  UniqueFd listener_;
  const Endpoint local_;
  WafJudge& judge_;
  const Logger logger_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // of connections_
  std::list<Connection> connections_;
  std::thread acceptor_;
};

}  // namespace leeward::app
