// How an edge gives its place to another process of the same machine, so that an upgrade closes no
// connection: the successor gets the listening sockets themselves, with whoever waits in their
// queues, and serves before the predecessor begins to drain.
//
// Protocol over a Unix socket (SOCK_SEQPACKET) "handover" in the role's state directory. The
// predecessor answers a connection with messages "F" that carry descriptors (SCM_RIGHTS) and a
// message "E"; the successor says "S" once it serves. When it ends before that, or takes longer
// than a minute, the predecessor goes on and takes back what it can of what it had released.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "net/loop.h"

namespace leeward::app {

// The successor's side.
class Predecessor {
 public:
  // Asks who serves in `directory`, the role's state directory, for its sockets; blocks for ten
  // seconds at most. kNotFound: nobody serves there; kTimeout: no answer; kUnavailable: it broke
  // off, as it does while another successor asks; kIo.
  static Result<Predecessor> ask(const std::string& directory);

  // They listen already; the caller owns them. Once.
  std::vector<UniqueFd> take_sockets() { return std::move(sockets_); }
  // This process serves; the predecessor may drain. kIo: it is gone, or waited too long and goes
  // on.
  Status serving();

 private:
  UniqueFd line_;
  std::vector<UniqueFd> sockets_;
};

// The predecessor's side, for one successor at a time. Lives on the loop's thread, where the steps
// are called too.
class Handover {
 public:
  struct Steps {
    std::function<std::vector<int>()> sockets;  // that listen; they stay the caller's
    std::function<void()> release;              // what two processes cannot hold at once; first
    std::function<void()> take_back;            // the successor ended before it served
    std::function<void()> done;                 // it serves: time to drain
  };
  // Listens in `directory`, in place of whoever did before. kIo.
  static Result<std::unique_ptr<Handover>> start(net::EventLoop& loop, const std::string& directory,
                                                 Steps steps, Logger logger);
  ~Handover();
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

 private:
  Handover(net::EventLoop& loop, Steps steps, Logger logger)
      : loop_(loop), steps_(std::move(steps)), logger_(std::move(logger)) {}

  void on_successor();
  void on_word();
  void end(bool served);
  void hang_up();

  net::EventLoop& loop_;
  Steps steps_;
  Logger logger_;
  UniqueFd listener_, line_;
  net::WatchId listener_watch_{}, line_watch_{};
  net::TimerId timer_{};
};

}  // namespace leeward::app
