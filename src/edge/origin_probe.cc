#include "edge/internal/origin_probe.h"

#include "edge/proxy_protocol.h"

namespace leeward::edge {
namespace {

constexpr std::size_t kBodyBytesMax = 1u << 20;  // a larger answer is none
constexpr std::size_t kBodyBytesKept = 1024;

}  // namespace

OriginProbe::OriginProbe(Loop& loop, ProbeQuestion question,
                         std::function<void(Result<ProbeReply>)> done)
    : loop_(loop), question_(std::move(question)), done_(std::move(done)), timer_(*this) {}

void OriginProbe::begin(const std::shared_ptr<GroupState>& group, std::size_t origin) {
  const GroupSpec& spec = group->spec();
  const std::string& address = spec.origins[origin].address;
  loop_.wheel().arm(timer_, loop_.now() + question_.timeout);
  stream_ =
      &open_origin_stream(loop_, group, origin, *this, 0,
                          spec.proxy_protocol ? format_local_proxy_header() : std::string(), true);
  stream_->send_head({.method = "GET",
                      .target = question_.path,
                      .authority = address.starts_with("unix:") ? "localhost" : address,
                      .lines = "User-Agent: leeward-probe\r\n",
                      .upgrade = {},
                      .framing = Framing::kNone,
                      .content_length = {},
                      .to_head = false});
  stream_->send_end({});
}

bool OriginProbe::on_origin_head(std::size_t, const ResponseHead& head) {
  reply_.status = head.status;
  return true;
}

bool OriginProbe::on_origin_body(std::size_t, std::string_view bytes) {
  received_ += bytes.size();
  if (received_ > kBodyBytesMax) {
    stream_ = nullptr;
    tell(fail(Code::kCorrupt, "an answer of more than {} bytes", kBodyBytesMax));
    return false;
  }
  reply_.body.append(
      bytes.substr(0, kBodyBytesKept - std::min(kBodyBytesKept, reply_.body.size())));
  return true;
}

void OriginProbe::on_origin_end(std::size_t, std::string_view) {
  stream_ = nullptr;
  tell(std::move(reply_));
}

void OriginProbe::on_origin_fault(std::size_t, OriginFault fault, bool) {
  stream_ = nullptr;
  switch (fault) {
    case OriginFault::kConnect:
      return tell(fail(Code::kUnavailable, "no connection"));
    case OriginFault::kFirstByte:
    case OriginFault::kIdle:
      return tell(fail(Code::kTimeout, "no answer in time"));
    case OriginFault::kBadReply:
      return tell(fail(Code::kCorrupt, "the answer is not HTTP"));
    case OriginFault::kStale:
    case OriginFault::kRefused:
    case OriginFault::kBroken:
      return tell(fail(Code::kUnavailable, "the connection was closed before a whole answer"));
  }
}

void OriginProbe::on_timer(Timer&) {
  if (stream_ != nullptr) std::exchange(stream_, nullptr)->abandon();
  tell(fail(Code::kTimeout, "no answer within {}", format_duration(question_.timeout)));
}

void OriginProbe::tell(Result<ProbeReply> result) {
  timer_.disarm();
  done_(std::move(result));
  loop_.link_gone(*this);
}

}  // namespace leeward::edge
