#include "edge/internal/cache_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "edge/internal/cache_range.h"

namespace leeward::edge {
namespace {

// Lines made for one answer, and the object that they were made from.
struct OwnLines {
  std::string lines;
  std::shared_ptr<void> keeps;
};

void add(CacheAnswer& a, std::string_view text) {
  std::size_t n = std::min(text.size(), sizeof a.added - a.added_size);
  std::memcpy(a.added + a.added_size, text.data(), n);
  a.added_size = static_cast<std::uint16_t>(a.added_size + n);
}

void add_number(CacheAnswer& a, std::int64_t value) {
  fmt::format_int text(value);
  add(a, {text.data(), text.size()});
}

void add_status_line(CacheAnswer& a, const AnswerStatus& s, std::int64_t ttl) {
  add(a, "Cache-Status: ");
  add(a, s.cache_name.substr(0, 64));
  if (s.hit) {
    add(a, "; hit; ttl=");
    add_number(a, ttl);
  } else if (!s.forward.empty()) {
    add(a, "; fwd=");
    add(a, s.forward);
    if (s.forward_status != 0) {
      add(a, "; fwd-status=");
      add_number(a, s.forward_status);
    }
    if (s.stored) add(a, "; stored");
    if (s.collapsed) add(a, "; collapsed");
  }
  if (!s.detail.empty()) {
    add(a, "; detail=");
    add(a, s.detail);
  }
  add(a, "\r\n");
}

// What a 304 repeats (RFC 9110 §15.4.5): not what describes a body that is not there.
bool in_not_modified(std::string_view name) {
  static constexpr std::array<std::string_view, 6> kLeftOut = {
      "content-length", "content-type", "content-encoding",
      "content-range",  "content-md5",  "content-language"};
  return std::none_of(kLeftOut.begin(), kLeftOut.end(),
                      [&](std::string_view n) { return same_name(n, name); });
}

template <typename Keep>
std::shared_ptr<OwnLines> own_lines(const std::shared_ptr<void>& keeps, std::string_view lines,
                                    Keep keep) {
  auto own = std::make_shared<OwnLines>();
  own->keeps = keeps;
  for_each_line(lines, [&](std::string_view name, std::string_view value) {
    if (keep(name)) own->lines.append(name).append(": ").append(value).append("\r\n");
  });
  return own;
}

std::int64_t whole_seconds(Duration d) { return std::chrono::floor<Seconds>(d).count(); }

// Sends `range` of an object whose whole length is `length`; nullopt: 416.
void answer_range(const StoredObject& o, std::optional<ByteRange> range, std::uint64_t length,
                  CacheAnswer& a) {
  auto own = own_lines(a.owner, o.lines(), [&](std::string_view name) {
    return !same_name(name, "content-length") && (range || in_not_modified(name));
  });
  if (range) {
    a.status = 206;
    a.offset = range->first - o.first();
    a.size = range->size();
    own->lines += fmt::format("Content-Length: {}\r\n", a.size);
    add(a, fmt::format("Content-Range: bytes {}-{}/{}\r\n", range->first, range->last, length));
  } else {
    a.status = 416;
    a.body = nullptr;
    a.size = 0;
    own->lines += "Content-Length: 0\r\n";
    add(a, fmt::format("Content-Range: bytes */{}\r\n", length));
  }
  a.field_lines = own->lines;
  a.owner = std::move(own);
}

}  // namespace

bool covers(const StoredObject& object, Method method, Fields request) {
  if (object.sliced() || (!object.partial() && object.status() != 206)) return true;
  if (method != Method::kGet) return false;
  auto spec = parse_range(find_field(request, "range"));
  if (!spec || !if_range_holds(request, object.etag(), object.last_modified())) return false;
  if (!object.partial()) return true;  // the same Range: it is among what the object varies by
  auto range = resolve(*spec, object.complete_length());
  return range && range->first >= object.first() &&
         range->last < object.first() + object.final_size();
}

void make_answer(const std::shared_ptr<StoredObject>& object, std::shared_ptr<Body> slices,
                 Method method, Fields request, Now now, const AnswerStatus& status,
                 CacheAnswer& a) {
  const StoredObject& o = *object;
  a.status = o.status();
  a.field_lines = o.lines();
  a.added_size = 0;
  a.offset = 0;
  a.may_fetch = false;
  a.size = o.final_size();
  if (slices != nullptr) {
    auto own = own_lines(slices, o.lines(), [](std::string_view) { return true; });
    own->lines += fmt::format("Content-Length: {}\r\n", o.complete_length());
    a.body = slices.get();
    a.field_lines = own->lines;
    a.owner = std::move(own);
    a.size = o.complete_length();
    a.may_fetch = true;
  } else if (o.growing()) {
    auto reader = std::make_shared<Content::Reader>(o.content(), object, 0);
    a.body = reader.get();
    a.owner = std::move(reader);
  } else {
    a.owner = object;
    a.body = object.get();
  }
  Duration age = o.freshness().age(now.boot);
  if (status.hit || age >= Seconds{1}) {
    add(a, "Age: ");
    add_number(a, whole_seconds(age));
    add(a, "\r\n");
  }
  add_status_line(a, status, whole_seconds(o.freshness().lifetime - age));

  if (o.status() == 200 || o.partial()) {
    std::int64_t wall = std::chrono::floor<Seconds>(now.wall).time_since_epoch().count();
    std::string_view date =
        o.last_modified().empty() ? find_line(o.lines(), "date") : std::string_view();
    if (evaluate_conditions(request, o.etag(), o.last_modified(), date, wall) ==
        Condition::kNotModified) {
      auto own = own_lines(a.owner, o.lines(), in_not_modified);
      a.status = 304;
      a.body = nullptr;
      a.size = 0;
      a.field_lines = own->lines;
      a.owner = std::move(own);
      return;
    }
  }
  if (method == Method::kHead) {
    a.body = nullptr;
    return;
  }
  if ((o.status() != 200 && !o.partial()) || a.size == CacheAnswer::kUnknown) return;
  std::uint64_t length = o.complete_length();
  auto spec = parse_range(find_field(request, "range"));
  bool ranged = spec && if_range_holds(request, o.etag(), o.last_modified());
  if (o.partial() && !o.sliced()) {
    // The origin may have answered another range than the one asked for: then all of that.
    ByteRange all{o.first(), o.first() + o.final_size() - 1};
    answer_range(o, covers(o, method, request) ? resolve(*spec, length) : all, length, a);
  } else if (ranged) {
    answer_range(o, resolve(*spec, length), length, a);
  }
}

void add_lines(CacheAnswer& a, std::string_view lines) {
  auto own = std::make_shared<OwnLines>();
  own->keeps = std::move(a.owner);
  own->lines.append(a.field_lines).append(lines);
  a.field_lines = own->lines;
  a.owner = std::move(own);
}

void add_cache_status(CacheAnswer& answer, const AnswerStatus& status) {
  add_status_line(answer, status, 0);
}

void make_plain_answer(int status, const AnswerStatus& cache_status, CacheAnswer& a) {
  a.status = status;
  a.field_lines = "Content-Length: 0\r\n";
  a.added_size = 0;
  add_status_line(a, cache_status, 0);
  a.owner = nullptr;
  a.body = nullptr;
  a.offset = a.size = 0;
}

}  // namespace leeward::edge
