// What the parsers of request bodies have in common: what one may cost, and how it fails.
//
// A body that cannot be parsed is not an Error of this room: rules decide about it (REQBODY_ERROR),
// so a parser gives a BodyError and keeps what it had understood until then.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace leeward::waf {

// Bounds of one body. At each of them parsing ends with a BodyError that names the bound.
struct BodyLimits {
  std::size_t fields_max = 1000;  // arguments, SecArgumentsLimit; attributes and parts count too
  std::size_t depth_max = 512;    // nesting, SecRequestBodyJsonDepthLimit
  std::size_t text_bytes_max = 16u << 20;  // names and values that are kept
};

struct BodyError {
  std::string message;     // REQBODY_ERROR_MSG without its prefix
  std::size_t offset = 0;  // bytes of the body before the place that is wrong
};

}  // namespace leeward::waf
