// Chunked bodies: the first octet says how the rest is cut into pieces. However it is cut, the same
// body and trailers come out, or none.
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "edge/http1.h"

using namespace leeward::edge;

static void expect(bool condition) {
  if (!condition) std::abort();
}

struct Decoded {
  std::string body, trailers;
  std::size_t consumed = 0;
  bool bad = false, ended = false;
  bool operator==(const Decoded&) const = default;
};

static Decoded decode(std::string_view text, std::size_t piece) {
  ChunkedDecoder decoder;
  Decoded d;
  while (d.consumed < text.size() && !d.bad && !d.ended) {
    const std::string_view input = text.substr(d.consumed, piece);
    const ChunkedDecoder::Step step = decoder.next(input);
    expect(step.consumed <= input.size());
    switch (step.kind) {
      case ChunkedDecoder::Step::Kind::kMore:
        expect(step.consumed == input.size());
        break;
      case ChunkedDecoder::Step::Kind::kData:
        expect(!step.data.empty());
        d.body += step.data;
        break;
      case ChunkedDecoder::Step::Kind::kEnd:
        d.ended = true;
        d.trailers = decoder.trailers();
        break;
      case ChunkedDecoder::Step::Kind::kBad:
        d.bad = true;
        return d;
    }
    d.consumed += step.consumed;
  }
  return d;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Decoded whole = decode(text, text.size());
  Decoded pieces = decode(text, 1 + data[0] % 16);
  whole.consumed = whole.bad ? 0 : whole.consumed;  // where a fault is noticed may differ
  pieces.consumed = pieces.bad ? 0 : pieces.consumed;
  if (whole.bad) whole.body.clear(), pieces.body.clear();
  expect(whole == pieces);
  // Trailers never carry what frames or routes a message.
  std::string lower = whole.trailers;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  for (std::string_view name : {"content-length:", "transfer-encoding:", "host:"})
    expect(!lower.starts_with(name) && lower.find("\n" + std::string(name)) == std::string::npos);
  return 0;
}
