// From a stored object and a request to what is sent: conditions (304), ranges (206, 416), HEAD,
// and the lines that differ from request to request (Age, Cache-Status, Content-Range).
#pragma once

#include <memory>
#include <string_view>

#include "edge/exchange.h"
#include "edge/internal/cache_object.h"

namespace leeward::edge {

// What Cache-Status (RFC 9211) says of the answer.
struct AnswerStatus {
  std::string_view cache_name = "leeward";
  bool hit = false;          // hit with ttl, or fwd=`forward`
  std::string_view forward;  // "miss", "stale", "partial" …
  int forward_status = 0;    // of the origin; 0: none
  bool stored = false;
  bool collapsed = false;
  std::string_view detail;  // a token
};

// Fills `answer`; it keeps `object` alive. A Range that a partial object does not cover must not
// get here (see covers()). `slices`: the body of a sliced object, null for all others.
void make_answer(const std::shared_ptr<StoredObject>& object, std::shared_ptr<Body> slices,
                 Method method, Fields request, Now now, const AnswerStatus& status,
                 CacheAnswer& answer);
// Adds field lines for this answer alone.
void add_lines(CacheAnswer& answer, std::string_view lines);

// Whether the object has what the request asks for: always when it is whole; a partial one only for
// a GET with a satisfiable Range inside it, whose If-Range holds.
bool covers(const StoredObject& object, Method method, Fields request);

// Adds the Cache-Status line of a response that is not served from an object.
void add_cache_status(CacheAnswer& answer, const AnswerStatus& status);

// An answer without an object: 504 to only-if-cached, 416, 502. No body.
void make_plain_answer(int status, const AnswerStatus& cache_status, CacheAnswer& answer);

}  // namespace leeward::edge
