// A socket to an origin until it can be used: connects, sends what must be in front of everything
// (the PROXY header), and shakes hands where the group speaks TLS. One loop's.
#pragma once

#include <memory>
#include <string>

#include "edge/internal/loop.h"
#include "edge/internal/transport.h"

namespace leeward::edge {

class OriginSocket {
 public:
  enum class State : std::uint8_t {
    kConnecting,
    kHandshake,
    kOpen,
    kFailed,  // of TLS: the log says why
  };

  // Begins; `target` gets the events of the descriptor. False: that was not even possible.
  bool connect(Loop& loop, Target& target, std::shared_ptr<GroupState> group, std::size_t origin,
               std::string preamble);
  // As far as it goes now. Call it when the socket is writable, and in kHandshake on every event.
  State advance();
  State state() const { return state_; }

  Transport& io() { return io_; }
  const Transport& io() const { return io_; }
  GroupState& group() { return *group_; }
  OriginState& origin() { return group_->origins[origin_]; }
  // Whether a new connection would be made the same way: in the configuration, with the same TLS.
  bool current() const;
  // Why the origin cannot be used, to the log; at most once a second for each origin.
  void report(const std::string& why);
  void report_tls_failure(const std::string& why);  // and to the metrics
  void report_tls_failure();                        // by what OpenSSL says, when it is TLS

 private:
  bool send_preamble();

  Loop* loop_ = nullptr;
  Transport io_;
  std::shared_ptr<GroupState> group_;
  std::size_t origin_ = 0;
  std::string preamble_;
  std::shared_ptr<const TlsClient> tls_;  // null: none
  std::shared_ptr<TlsSession> session_;
  State state_ = State::kFailed;
};

}  // namespace leeward::edge
