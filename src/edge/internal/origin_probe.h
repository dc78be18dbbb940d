// One GET, or one gRPC health check, at one origin, the way its requests go, on a connection of its
// own: what Edge::probe() asks. Lives on one loop's thread until it has told what came of it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "edge/internal/loop.h"
#include "edge/internal/origin_stream.h"

namespace leeward::edge {

class OriginProbe final : public Target, public OriginUser, private Timer::Owner {
 public:
  OriginProbe(Loop& loop, ProbeQuestion question, std::function<void(Result<ProbeReply>)> done);

  void begin(const std::shared_ptr<GroupState>& group, std::size_t origin);

  // Target
  void on_events(std::uint32_t) override {}
  void on_deferred() override {}

  // OriginUser
  void on_origin_drained(std::size_t) override {}
  bool on_origin_head(std::size_t slot, const ResponseHead& head) override;
  bool on_origin_body(std::size_t slot, std::string_view bytes) override;
  bool origin_may_send(std::size_t) const override { return true; }
  void on_origin_end(std::size_t slot, std::string_view trailer_lines) override;
  void on_origin_fault(std::size_t slot, OriginFault fault, bool nothing_done) override;

 private:
  void on_timer(Timer& timer) override;
  void tell(Result<ProbeReply> result);

  Loop& loop_;
  ProbeQuestion question_;
  std::function<void(Result<ProbeReply>)> done_;
  Timer timer_;
  OriginStream* stream_ = nullptr;
  ProbeReply reply_;
  std::string grpc_status_;
  std::size_t received_ = 0;
};

}  // namespace leeward::edge
