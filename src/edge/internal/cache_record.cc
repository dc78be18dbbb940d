#include "edge/internal/cache_record.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace leeward::edge {
namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian");
constexpr std::uint32_t kMagic = 0x3143574c;  // "LWC1"

class Writer {
 public:
  template <typename T>
  Writer& number(T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Writer& text(std::string_view t) {
    number(static_cast<std::uint32_t>(t.size()));
    out.append(t);
    return *this;
  }
  std::string out;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  template <typename T>
  T number() {
    T value{};
    if (rest_.size() < sizeof value) {
      ok = false;
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }
  std::string_view text() {
    auto size = number<std::uint32_t>();
    if (!ok || size > rest_.size()) {
      ok = false;
      return {};
    }
    std::string_view t = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return t;
  }
  bool at_end() const { return ok && rest_.empty(); }
  bool ok = true;

 private:
  std::string_view rest_;
};

std::int64_t ticks(WallTime t) { return t.time_since_epoch().count(); }

std::string header_fields(const RecordHeader& h) {
  Writer w;
  w.number(kMagic).number(h.type).number(std::uint8_t{0}).number(std::uint16_t{0});
  w.number(h.head_size).number(h.body_sum).number(h.body_size).number(h.url_print).number(h.number);
  return std::move(w.out);
}

}  // namespace

std::uint32_t sum_of(std::string_view bytes, std::uint32_t so_far) {
  return static_cast<std::uint32_t>(
      crc32_z(so_far, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::string write_header(RecordHeader header, std::string_view head) {
  header.head_size = static_cast<std::uint32_t>(head.size());
  std::string out = header_fields(header);
  std::uint32_t sum = sum_of(head, sum_of(out));
  out.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  out.resize(kRecordHeaderSize, '\0');
  return out;
}

std::optional<RecordHeader> read_header(std::string_view bytes) {
  if (bytes.size() < kRecordHeaderSize) return std::nullopt;
  Reader r(bytes.substr(0, kRecordHeaderSize));
  if (r.number<std::uint32_t>() != kMagic) return std::nullopt;
  RecordHeader h;
  auto type = r.number<std::uint8_t>();
  if (type < 1 || type > 4) return std::nullopt;
  h.type = static_cast<RecordType>(type);
  r.number<std::uint8_t>();
  r.number<std::uint16_t>();
  h.head_size = r.number<std::uint32_t>();
  h.body_sum = r.number<std::uint32_t>();
  h.body_size = r.number<std::uint64_t>();
  h.url_print = r.number<std::uint64_t>();
  h.number = r.number<std::uint64_t>();
  h.head_sum = r.number<std::uint32_t>();
  if (h.head_size > kRecordHeadMax || h.body_size > kRecordBodyMax) return std::nullopt;
  return h;
}

bool head_matches(const RecordHeader& header, std::string_view head) {
  return head.size() == header.head_size &&
         sum_of(head, sum_of(header_fields(header))) == header.head_sum;
}

std::string write_object_head(const StoredObject& o, Now now) {
  const Freshness& f = o.freshness();
  Writer w;
  w.number(static_cast<std::int32_t>(o.status()))
      .number(o.coding)
      .number(std::uint8_t{o.from_post});
  w.number(ticks(now.wall) - f.age(now.boot).count());  // born, by the wall clock
  w.number(f.lifetime.count()).number(f.stale_while_revalidate.count());
  w.number(f.stale_if_error.count());
  w.number(std::uint8_t{f.no_cache}).number(std::uint8_t{f.no_stale});
  w.number(std::uint8_t{o.soft_purged.load()});
  w.number(o.first()).number(o.partial() ? o.complete_length() : std::uint64_t{0});
  w.number(o.purge_sequence);
  w.number(static_cast<std::uint32_t>(o.url().size()));
  w.text(o.key_text()).text(o.vary()).text(o.variant()).text(o.lines());
  w.number(static_cast<std::uint32_t>(o.tag_count()));
  for (std::size_t i = 0; i < o.tag_count(); ++i) w.number(o.tag(i));
  if (o.sliced()) w.number(o.slice_bytes()).number(o.generation());
  return std::move(w.out);
}

std::optional<StoredObject::Parts> read_object_head(std::string_view head, Now now) {
  Reader r(head);
  StoredObject::Parts p;
  p.status = r.number<std::int32_t>();
  auto coding = r.number<std::uint8_t>();
  p.from_post = r.number<std::uint8_t>() != 0;
  // A wall clock that was set back must not make anything younger than it is now.
  std::int64_t born = r.number<std::int64_t>();
  Duration age{std::max<std::int64_t>(0, ticks(now.wall) - std::max<std::int64_t>(born, 0))};
  p.freshness.born = now.boot - age;
  p.freshness.lifetime = Duration(r.number<std::int64_t>());
  p.freshness.stale_while_revalidate = Duration(r.number<std::int64_t>());
  p.freshness.stale_if_error = Duration(r.number<std::int64_t>());
  p.freshness.no_cache = r.number<std::uint8_t>() != 0;
  p.freshness.no_stale = r.number<std::uint8_t>() != 0;
  bool soft_purged = r.number<std::uint8_t>() != 0;
  p.first = r.number<std::uint64_t>();
  p.complete = r.number<std::uint64_t>();
  p.purge_sequence = r.number<std::uint64_t>();
  p.url_size = r.number<std::uint32_t>();
  p.key_text = r.text();
  p.vary = r.text();
  p.variant = r.text();
  p.lines = r.text();
  auto tags = r.number<std::uint32_t>();
  if (!r.ok || tags > 65535 || coding > 3 || p.url_size > p.key_text.size() || p.status < 200 ||
      p.status > 599) {
    return std::nullopt;
  }
  for (std::uint32_t i = 0; i < tags && r.ok; ++i) p.tags.push_back(r.number<std::uint64_t>());
  if (r.ok && !r.at_end()) {  // a manifest's
    p.slice_bytes = r.number<std::uint32_t>();
    p.generation = r.number<std::uint64_t>();
    if (p.slice_bytes == 0 || p.complete == 0) return std::nullopt;
  }
  if (!r.at_end()) return std::nullopt;
  p.coding = static_cast<Coding>(coding);
  if (soft_purged) p.freshness.lifetime = Duration{0};
  p.hash = hash_url(p.key_text.substr(0, p.url_size));
  p.stored_at = now.boot - age;
  p.from_disk = true;
  return p;
}

std::string write_purge_head(const PurgeRecord& purge) {
  Writer w;
  w.number(purge.kind).number(purge.tag).text(purge.text);
  return std::move(w.out);
}

std::optional<PurgeRecord> read_purge_head(std::string_view head) {
  Reader r(head);
  PurgeRecord p;
  auto kind = r.number<std::uint8_t>();
  p.tag = r.number<std::uint64_t>();
  p.text = r.text();
  if (!r.at_end() || kind > 1) return std::nullopt;
  p.kind = static_cast<PurgeKind>(kind);
  return p;
}

}  // namespace leeward::edge
