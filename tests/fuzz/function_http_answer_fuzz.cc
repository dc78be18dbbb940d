// An application's answer, in pieces: the same whatever the pieces are, and within its bound.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "functions/internal/http_reader.h"

namespace {

using leeward::functions::HttpAnswer;
using leeward::functions::HttpAnswerReader;

constexpr std::size_t kBodyMax = 4096;

std::optional<HttpAnswer> read(std::string_view text, std::size_t step, bool no_body) {
  HttpAnswerReader reader(no_body, kBodyMax);
  for (std::size_t at = 0; at < text.size() && !reader.done(); at += step)
    if (!reader.take(text.substr(at, step))) return std::nullopt;
  if (!reader.done()) return std::nullopt;
  return reader.answer();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool no_body = (data[0] & 1) != 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto whole = read(text, text.size() + 1, no_body);
  const auto single = read(text, 1, no_body);
  if (whole) LEEWARD_CHECK(whole->body.size() <= kBodyMax);
  // What is whole when it comes at once is whole byte by byte, unless it lay near a bound.
  if (whole && single)
    LEEWARD_CHECK(whole->status == single->status && whole->body == single->body &&
                  whole->fields == single->fields);
  return 0;
}
