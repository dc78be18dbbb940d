// What a 304, or the response to a HEAD, makes of a stored response (RFC 9111 §3.2, §4.3.4,
// §4.3.5): the same bytes under new field lines, as fresh as these say.
#pragma once

#include <cstdint>
#include <memory>

#include "edge/cache_core.h"
#include "edge/internal/cache_object.h"

namespace leeward::edge {

struct UpdatedObject {
  std::shared_ptr<StoredObject> object;
  bool no_store = false;  // what it says of itself by now: serve it once more at most
};

// REQUIRES: `stored` does not grow. `purge_sequence`: of when the request was sent.
UpdatedObject update_object(const StoredObject& stored, const ResponseView& response,
                            const CachePolicy& policy, const FetchTimes& times,
                            std::uint64_t purge_sequence);

}  // namespace leeward::edge
