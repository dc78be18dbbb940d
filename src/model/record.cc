#include "model/record.h"

namespace leeward {

std::string_view name(ReplicationState s) {
  constexpr std::string_view kNames[] = {"none", "connecting", "streaming", "broken"};
  return kNames[static_cast<std::size_t>(s)];
}

std::string_view name(SemiSync s) {
  constexpr std::string_view kNames[] = {"off", "on", "fallen"};
  return kNames[static_cast<std::size_t>(s)];
}

std::string_view name(Health h) {
  constexpr std::string_view kNames[] = {"unknown", "up", "down"};
  return kNames[static_cast<std::size_t>(h)];
}

std::string_view name(GatewayMode m) {
  constexpr std::string_view kNames[] = {"refuse", "hold", "local", "remote"};
  return kNames[static_cast<std::size_t>(m)];
}

std::string_view name(ProtectionState s) {
  constexpr std::string_view kNames[] = {"off", "arming", "on"};
  return kNames[static_cast<std::size_t>(s)];
}

std::string_view name(PlanKind k) {
  constexpr std::string_view kNames[] = {"bootstrap", "failover", "switchover", "failback"};
  return kNames[static_cast<std::size_t>(k)];
}

std::string_view name(PlanStep s) {
  constexpr std::string_view kNames[] = {"prepare", "drain", "catch_up", "transfer",
                                         "traffic", "done",  "aborted"};
  return kNames[static_cast<std::size_t>(s)];
}

}  // namespace leeward
