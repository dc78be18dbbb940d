// Compressed request bodies (Content-Encoding), unpacked within bounds: a body of a few kilobytes
// can unpack to gigabytes, so the size and the ratio of what comes out are limited while it comes.
//
// gzip may be of several members and zstd of several frames, one after another (RFC 1952 §2.2, RFC
// 8878 §3.1). "deflate" is zlib's format (RFC 9110 §8.4.1.2) and, because clients send it, the bare
// one. What follows the end of the compressed data is an error.
//
// Formats have room beside the data, which decoders pass over and which is text of the sender's all
// the same: see InflateLimits::only_data.
//
// Streaming. Threading: one object for one body on one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "waf/body.h"

namespace leeward::waf {

enum class ContentCoding { kGzip, kDeflate, kBrotli, kZstd };

// By the token of Content-Encoding, in any case: "gzip", "x-gzip", "deflate", "br", "zstd"; nullopt
// for others, a list and "identity" among them.
std::optional<ContentCoding> content_coding_named(std::string_view token);

struct InflateLimits {
  std::size_t output_bytes_max = 16u << 20;
  // Output per byte of input, once the output is more than ratio_free_bytes. Text packs to a tenth;
  // deflate cannot go beyond 1,032.
  std::size_t ratio_max = 100;  // at least 1
  std::size_t ratio_free_bytes = 1u << 20;
  std::size_t window_bytes_max = 8u << 20;  // memory a zstd frame may ask for
  // Refuse what stands beside the data: a comment, an extra field, and a file name that does not
  // look like one in a member of gzip (RFC 1952 §2.3.1; its program writes the file's name), and
  // skippable frames of zstd (RFC 8878 §3.1.2). Metadata of brotli (RFC 7932 §9.2) cannot be told
  // from data without a decoder that says so, and passes.
  bool only_data = false;
};

class Inflate {
 public:
  Inflate(ContentCoding coding, const InflateLimits& limits);
  ~Inflate();
  Inflate(const Inflate&) = delete;
  Inflate& operator=(const Inflate&) = delete;

  // Unpacks the next bytes and appends to `output`, at most one chunk of 16 KiB beyond a limit.
  // False on corrupt data or at a limit; error() says which, and what follows is ignored.
  bool feed(std::string_view bytes, std::string& output);
  // The body is complete; false when the compressed data was not.
  bool finish();
  const std::optional<BodyError>& error() const { return error_; }
  bool at_limit() const { return at_limit_; }  // the error is that it is too large, or grows so

 private:
  class Codec;
  class Zlib;
  class Brotli;
  class Zstd;

  bool within_limits();
  bool fail(std::string message);

  std::unique_ptr<Codec> codec_;
  const InflateLimits limits_;
  std::size_t input_bytes_ = 0;  // taken by the codec
  std::size_t output_bytes_ = 0;
  bool ended_ = false;  // at the end of a member, a frame or the whole
  bool at_limit_ = false;
  std::optional<BodyError> error_;
};

}  // namespace leeward::waf
