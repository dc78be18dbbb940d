// The gateway's view of a MariaDB session, fed from both sides in an order that the input chooses.
// Input: chunks of [side and flags (1), length (1), bytes]. Checks what must hold whatever arrives:
// nothing passes while a session is being restored, and a kept command comes back whole.
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/check.h"
#include "gateway/internal/session_core.h"

namespace {

using namespace leeward::gateway;

void arrive(Buffer& buffer, std::span<const std::uint8_t> bytes) {
  const auto room = buffer.writable();
  const std::size_t n = std::min(room.size(), bytes.size());
  std::copy_n(bytes.begin(), n, room.begin());
  buffer.filled(n);
}

struct Fuzzed {
  std::unique_ptr<SecretVault> vault = std::move(*SecretVault::create(1));
  AccountLookup lookup = [](auto, auto) { return std::optional<AccountVerifier>(); };
  SessionCore core{lookup, *vault};
  Buffer client, server;
  std::string own;

  bool step(std::uint8_t flags, std::span<const std::uint8_t> bytes) {
    if (flags & 1) {
      arrive(client, bytes);
      return core.from_client(client, (flags & 2) == 0, (flags & 4) != 0) !=
             SessionCore::FromClient::kBroken;
    }
    arrive(server, bytes);
    const auto phase = core.phase();
    const std::size_t ready = server.ready().size();
    const auto result = core.from_server(server, own);
    if (phase == SessionCore::Phase::kReGreeting && core.phase() != SessionCore::Phase::kCommand)
      LEEWARD_CHECK(server.ready().size() == ready);
    if (result == SessionCore::FromServer::kNotExecuted) {
      core.take_back(client);
      LEEWARD_CHECK(!core.in_flight());
      core.detach();
    }
    if ((flags & 8) && core.idle() && core.cannot_move().empty()) {
      core.detach();
      core.attach("127.0.0.1");
    }
    return result != SessionCore::FromServer::kBroken;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Fuzzed f;
  f.core.attach("127.0.0.1");
  std::span<const std::uint8_t> in(data, size);
  while (in.size() >= 2) {
    const std::size_t n = std::min<std::size_t>(in[1], in.size() - 2);
    if (!f.step(in[0], in.subspan(2, n))) break;
    in = in.subspan(2 + n);
    if (in.size() % 3 == 0) {
      f.client.sent(f.client.ready().size());
      f.server.sent(f.server.ready().size());
    }
  }
  return 0;
}
