#include "edge/internal/cache_encode.h"

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>

#include "edge/internal/cache_text.h"
#include "edge/internal/cache_vary.h"

namespace leeward::edge {
namespace {

bool compressible(std::string_view type) {
  static constexpr std::array<std::string_view, 9> kTypes = {
      "application/javascript",    "application/json", "application/xml", "application/wasm",
      "application/manifest+json", "image/svg+xml",    "font/ttf",        "application/ld+json",
      "application/x-javascript"};
  type = trim(type.substr(0, type.find(';')));
  if (type.size() > 5 && same_name(type.substr(0, 5), "text/")) return true;
  return std::any_of(kTypes.begin(), kTypes.end(),
                     [&](std::string_view t) { return same_name(t, type); });
}

bool varies_by_coding(std::string_view lines) {
  bool found = false;
  for_each_line(lines, [&](std::string_view name, std::string_view value) {
    if (!same_name(name, "vary")) return;
    while (auto member = next_member(value)) found |= same_name(*member, "accept-encoding");
  });
  return found;
}

bool no_transform(std::string_view lines) {  // RFC 9111 §5.2.2.6
  std::vector<Field> fields;
  for_each_line(lines, [&](std::string_view n, std::string_view v) { fields.push_back({n, v}); });
  return response_directives(fields).no_transform;
}

std::optional<std::string> gzip(std::string_view bytes) {
  z_stream z{};
  if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return std::nullopt;
  std::string out(deflateBound(&z, bytes.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  int result = deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  if (result != Z_STREAM_END) return std::nullopt;
  return out;
}

std::optional<std::string> zstd(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  std::size_t n = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 7);
  if (ZSTD_isError(n)) return std::nullopt;
  out.resize(n);
  return out;
}

std::optional<std::string> brotli(std::string_view bytes) {
  std::size_t n = BrotliEncoderMaxCompressedSize(bytes.size());
  std::string out(n, '\0');
  if (BrotliEncoderCompress(6, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_TEXT, bytes.size(),
                            reinterpret_cast<const std::uint8_t*>(bytes.data()), &n,
                            reinterpret_cast<std::uint8_t*>(out.data())) != BROTLI_TRUE) {
    return std::nullopt;
  }
  out.resize(n);
  return out;
}

std::string_view coding_name(Coding coding) {
  switch (coding) {
    case Coding::kGzip:
      return "gzip";
    case Coding::kZstd:
      return "zstd";
    case Coding::kBrotli:
      return "br";
    case Coding::kNone:
      break;
  }
  return "identity";
}

// The plain form's lines with the coded one's length, coding and a weak validator: the bytes are
// not the ones that the strong one stands for.
std::string coded_lines(std::string_view plain, Coding coding, std::size_t size) {
  std::string out;
  for_each_line(plain, [&](std::string_view name, std::string_view value) {
    if (same_name(name, "content-length") || same_name(name, "content-md5") ||
        same_name(name, "accept-ranges")) {
      return;
    }
    out.append(name).append(": ");
    if (same_name(name, "etag") && !value.starts_with("W/")) out += "W/";
    out.append(value).append("\r\n");
  });
  out.append("Content-Encoding: ").append(coding_name(coding)).append("\r\nContent-Length: ");
  return out.append(std::to_string(size)).append("\r\n");
}

}  // namespace

std::optional<std::string> encode(Coding coding, std::string_view bytes) {
  switch (coding) {
    case Coding::kGzip:
      return gzip(bytes);
    case Coding::kZstd:
      return zstd(bytes);
    case Coding::kBrotli:
      return brotli(bytes);
    case Coding::kNone:
      break;
  }
  return std::string(bytes);
}

Encoder::Encoder(Store store) : store_(std::move(store)), thread_([this] { run(); }) {}

Encoder::~Encoder() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Encoder::announce(int status, std::string& lines, bool no_transform,
                       std::optional<std::uint64_t> length) {
  if (length && (*length < kBodyMin || *length > kBodyMax)) return;
  if (no_transform || status != 200 || !compressible(find_line(lines, "content-type")) ||
      find_line(lines, "content-encoding").data() != nullptr || varies_by_coding(lines)) {
    return;
  }
  lines += "Vary: Accept-Encoding\r\n";
}

void Encoder::offer(const std::shared_ptr<StoredObject>& object, Fields request) {
  if (object->coding != Coding::kNone) {
    // A better coding than the one just served may be wanted; nothing beats brotli.
    if (object->coding == Coding::kBrotli) return;
    if (auto plain = object->plain.lock()) offer(plain, request);
    return;
  }
  StoredObject& o = *object;
  constexpr std::uint8_t kNever = 1u << static_cast<unsigned>(Coding::kNone);
  std::uint8_t tried = o.codings_tried.load(std::memory_order_relaxed);
  if ((tried & kNever) != 0 || o.growing()) return;
  if (o.status() != 200 || o.partial() || o.size() < kBodyMin || o.size() > kBodyMax ||
      o.has_content_encoding() || !varies_by_coding(o.lines()) ||
      !compressible(find_line(o.lines(), "content-type")) || no_transform(o.lines())) {
    o.codings_tried.fetch_or(kNever, std::memory_order_relaxed);
    return;
  }
  Codings accepted = accepted_codings(request);
  Coding coding = accepted.brotli ? Coding::kBrotli
                  : accepted.zstd ? Coding::kZstd
                  : accepted.gzip ? Coding::kGzip
                                  : Coding::kNone;
  std::uint8_t bit = static_cast<std::uint8_t>(1u << static_cast<unsigned>(coding));
  if (coding == Coding::kNone || (tried & bit) != 0) return;
  std::lock_guard lock(mutex_);
  if (queue_.size() >= kQueueMax) return;
  if ((o.codings_tried.fetch_or(bit, std::memory_order_relaxed) & bit) != 0) return;
  queue_.emplace_back(object, coding);
  wake_.notify_one();
}

void Encoder::flush() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return queue_.empty() && !busy_; });
}

void Encoder::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    auto [object, coding] = std::move(queue_.front());
    queue_.pop_front();
    busy_ = true;
    lock.unlock();
    make(object, coding);
    object.reset();
    lock.lock();
    busy_ = false;
    if (queue_.empty()) idle_.notify_all();
  }
}

void Encoder::make(const std::shared_ptr<StoredObject>& object, Coding coding) {
  std::string plain(object->size(), '\0');
  if (!object->copy_body(0, plain.size(), plain.data())) return;
  auto coded = encode(coding, plain);
  if (!coded || coded->size() > plain.size() - plain.size() / 10) return;
  std::string lines = coded_lines(object->lines(), coding, coded->size());
  StoredObject::Parts p;
  p.status = object->status();
  p.key_text = object->key_text();
  p.url_size = object->url().size();
  p.hash = object->hash();
  p.vary = object->vary();
  p.variant = object->variant();
  p.lines = lines;
  if (coded->size() <= StoredObject::kInlineBodyMax) {
    p.inline_body = *coded;
  } else {
    p.content = Content::of(*coded);
  }
  p.tags = object->tags();
  p.freshness = object->freshness();
  p.purge_sequence = object->purge_sequence;
  p.stored_at = object->stored_at;
  p.coding = coding;
  p.plain = object;
  store_(*object, std::make_shared<StoredObject>(p));
}

}  // namespace leeward::edge
