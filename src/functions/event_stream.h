// AWS's event stream encoding (application/vnd.amazon.eventstream), as the answer of
// InvokeWithResponseStream: PayloadChunk events and one InvokeComplete at the end.
//
// A message is: total length, length of headers, CRC-32 of these eight bytes; headers, each a name
// and here always a string; payload; CRC-32 of all before. Numbers are big-endian. Source: "Amazon
// event stream specification" of Smithy.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leeward::functions {

std::string event_message(const std::vector<std::pair<std::string, std::string>>& headers,
                          std::string_view payload);

std::string payload_chunk(std::string_view bytes);
// `error_code` and `error_details` are empty after a success; `log` is the tail of the log.
std::string invoke_complete(std::string_view error_code, std::string_view error_details,
                            std::string_view log);

}  // namespace leeward::functions
