// gRPC's health checking protocol (grpc/doc/health-checking.md, grpc.health.v1): what a check asks
// and what an answer says. Messages travel as gRPC over HTTP/2 frames them (a flag, four octets of
// length, the message); of protobuf no more is needed than one string and one enum. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace leeward::edge {

inline constexpr std::string_view kGrpcHealthPath = "/grpc.health.v1.Health/Check";

// The framed HealthCheckRequest. `service`: empty for the server as a whole; at most 65,535 octets.
std::string grpc_health_request(std::string_view service);

// Whether the service serves. `body`: the response's, framed; `grpc_status`: the value of the field
// of that name, from the trailers or, in an answer without a body, from the head. kUnavailable with
// what the server says ("NOT_SERVING", "grpc-status 5"), kCorrupt for what is no such answer.
Status grpc_serves(std::string_view body, std::string_view grpc_status);

}  // namespace leeward::edge
