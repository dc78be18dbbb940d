// AWS Signature Version 4 of requests to the Lambda API: made by clients, checked by the host.
//
// Pure but for the hash functions. What is signed: method, path, query, the named header fields and
// the whole body, for one key, day, region and service. Not offered: signatures in the query
// (presigned URLs), unsigned or chunk-signed bodies; a session token is not looked at. Like at AWS,
// a request can be sent again within kClockTolerance of its time.
//
// Source: "Create a signed AWS API request" in the AWS IAM user guide.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/time.h"
#include "functions/registry.h"
#include "net/http.h"

namespace leeward::functions {

inline constexpr Duration kClockTolerance = std::chrono::minutes(5);

using AccessKeys = std::map<std::string, std::string>;  // secret by key id

// 403 with the error types that AWS's clients know when the request, whose `target` is as it came,
// is not signed by one of `keys`. The message never tells which of key and signature was nearly
// right.
ApiStatus check_signature(const net::HttpRequest& request, const AccessKeys& keys, WallTime now);

// Adds Host, X-Amz-Date and Authorization. REQUIRES: `target` is what will be sent.
void sign(net::HttpRequest& request, const std::string& host, const std::string& key_id,
          const std::string& secret, const std::string& region, WallTime now);

}  // namespace leeward::functions
