#include "edge/internal/origin_probe.h"

#include "edge/cache_core.h"
#include "edge/grpc_health.h"
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
  const std::string_view authority =
      address.starts_with("unix:") ? "localhost" : std::string_view(address);
  OriginRequest request{.method = "GET",
                        .target = question_.path,
                        .authority = authority,
                        .lines = "User-Agent: leeward-probe\r\n",
                        .upgrade = {},
                        .framing = Framing::kNone,
                        .content_length = {},
                        .to_head = false};
  if (!question_.grpc_service) {
    stream_->send_head(request);
    return stream_->send_end({});
  }
  const std::string body = grpc_health_request(*question_.grpc_service);
  request.method = "POST";
  request.target = kGrpcHealthPath;
  request.lines = "User-Agent: leeward-probe\r\nContent-Type: application/grpc\r\nTE: trailers\r\n";
  request.framing = Framing::kLength;
  request.content_length = body.size();
  stream_->send_head(request);
  stream_->send_body(body);
  stream_->send_end({});
}

bool OriginProbe::on_origin_head(std::size_t, const ResponseHead& head) {
  if (head.status < 200) return true;
  reply_.status = head.status;
  grpc_status_ = find_field(head.fields(), "grpc-status");
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

void OriginProbe::on_origin_end(std::size_t, std::string_view trailer_lines) {
  stream_ = nullptr;
  if (question_.grpc_service && reply_.status == 200) {
    if (const auto said = find_line(trailer_lines, "grpc-status"); !said.empty())
      grpc_status_ = said;
    if (auto serves = grpc_serves(reply_.body, grpc_status_); !serves) {
      reply_.status = 503;
      reply_.body = serves.error().message;
    }
  }
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
