#include "edge/internal/origin_stream.h"

#include "edge/internal/loop.h"
#include "edge/internal/origin_h2.h"
#include "edge/internal/origin_link.h"

namespace leeward::edge {

OriginStream& open_origin_stream(Loop& loop, const std::shared_ptr<GroupState>& group,
                                 std::size_t origin, OriginUser& user, std::size_t slot,
                                 std::string preamble, bool fresh) {
  const bool exclusive = fresh || !preamble.empty();
  if (group->spec().protocol == OriginProtocol::kHttp2) {
    if (!exclusive)
      for (OriginH2* known : group->origins[origin].multiplexed)
        if (known->has_room()) return known->open(user, slot);
    OriginH2& link = loop.new_h2_link();
    link.connect(group, origin, std::move(preamble), exclusive);
    return link.open(user, slot);
  }
  auto& idle = group->origins[origin].idle;
  OriginLink* link = nullptr;
  if (!exclusive && !idle.empty()) {
    link = idle.back();
    idle.pop_back();
  } else {
    link = &loop.new_link();
    link->connect(group, origin, std::move(preamble), exclusive);
  }
  link->begin(user, slot);
  return *link;
}

}  // namespace leeward::edge
