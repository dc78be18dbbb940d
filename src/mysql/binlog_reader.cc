#include "mysql/binlog_reader.h"

#include "mysql/replication_client.h"

namespace leeward::mysql {
namespace {

// The server drops an older reader with the same id; real servers number themselves from 1.
constexpr std::uint32_t kReaderServerId = 0xfffffff0;

}  // namespace

Status read_binlog(const SqlTarget& target, const GtidPosition& from, Duration stall,
                   const std::function<Status(std::string_view event)>& take) {
  BootTime deadline = BootClock::now() + stall;
  auto client = ReplicationClient::connect(
      {target.endpoint, target.user, target.password, target.tls}, deadline);
  if (!client) return fail(std::move(client.error()));
  DumpRequest request;
  request.server_id = kReaderServerId;
  request.from.gtids = from;
  request.stop_at_end = true;
  if (auto started = (*client)->start(request, deadline); !started) return started;
  std::string joined;
  for (;;) {
    auto received = (*client)->next(BootClock::now() + stall);
    if (!received) return fail(std::move(received.error()));
    if (!*received) return {};
    if ((*received)->size > kReadEventBytesMax)
      return fail(Code::kRefused, "binary log: an event of {} bytes; {} are read at most",
                  (*received)->size, kReadEventBytesMax);
    std::string_view event = (*received)->part;
    if (!((*received)->first && (*received)->last)) {
      if ((*received)->first) joined.clear();
      joined += event;
      if (!(*received)->last) continue;
      event = joined;
    }
    if (auto taken = take(event); !taken) return taken;
  }
}

}  // namespace leeward::mysql
