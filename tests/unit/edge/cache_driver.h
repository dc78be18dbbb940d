// Plays the loops' part towards the cache: asks, is woken, feeds fills from an origin that is a
// lambda. Time is the test's.
#pragma once

#include <unistd.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "edge/cache.h"
#include "edge/internal/cache_date.h"

namespace leeward::edge {

inline constexpr std::int64_t kEpochSeconds = 1'700'000'000;

using Pairs = std::vector<std::pair<std::string, std::string>>;

struct Ask {
  Ask(std::string m, std::string t, Pairs f = {}, std::string h = "h")
      : method(std::move(m)), target(std::move(t)), fields(std::move(f)), host(std::move(h)) {}
  std::string method, target;
  Pairs fields;
  std::string host;
};
struct Reply {
  int status = 200;
  Pairs fields = {};
  std::string body = {};
  bool chunked = false;  // no Content-Length
};

inline std::vector<Field> to_fields(const Pairs& pairs) {
  std::vector<Field> out;
  for (const auto& [name, value] : pairs) out.push_back({name, value});
  return out;
}

class Driver : public Wakeup {
 public:
  explicit Driver(CacheOptions options = {}) : cache(std::move(options)) {}

  // Also from the disk tier's thread.
  void wake(std::uint64_t token) override {
    std::lock_guard lock(mutex_);
    ++woken_[token];
  }
  int woken(std::uint64_t token) {
    std::lock_guard lock(mutex_);
    return woken_[token];
  }
  std::size_t tokens_woken() {
    std::lock_guard lock(mutex_);
    return woken_.size();
  }
  void sleep(Duration d) {
    now.boot += d;
    now.wall += d;
  }
  std::string date(std::int64_t offset = 0) const {
    return format_http_date(
        std::chrono::floor<std::chrono::seconds>(now.wall).time_since_epoch().count() + offset);
  }

  CacheDecision look(const Ask& ask, std::uint64_t token = 1) {
    std::vector<Field> fields = to_fields(ask.fields);
    CacheDecision d;
    cache.lookup(view(ask, fields), policy, now, {this, token}, d);
    return d;
  }
  static RequestView view(const Ask& ask, Fields fields) {
    RequestView r;
    r.method = method_of(ask.method);
    r.method_text = ask.method;
    r.scheme = "http";
    r.host = ask.host;
    r.target = ask.target;
    r.fields = fields;
    return r;
  }
  // Begins an origin's response; what follows is append() and finish() unless it is kStore.
  Fill::Start respond(Fill& fill, const Reply& reply, CacheAnswer& answer) {
    std::vector<Field> fields = to_fields(reply.fields);
    ResponseView r;
    r.status = reply.status;
    r.fields = fields;
    r.has_body = !reply.body.empty();
    if (!reply.chunked) r.content_length = reply.body.size();
    return fill.on_response(r, now, answer);
  }
  // One request from beginning to end. `origin` is asked when the cache wants it: with the lines
  // that the cache adds.
  Reply get(const Ask& ask, const std::function<Reply(const std::string& lines)>& origin) {
    CacheDecision d = look(ask);
    for (int tries = 0; d.kind == CacheDecision::Kind::kWait && tries < 2000; ++tries) {
      cache.flush_disk();  // the only one we can be waiting for here
      d = look(ask);
    }
    last_lines.clear();
    if (d.kind == CacheDecision::Kind::kServe) {
      Reply r = read(d.answer, origin);
      if (d.fill != nullptr) {
        CacheAnswer ignored;
        feed(*d.fill, origin(std::string(d.fill->request_lines())), ignored);
      }
      return r;
    }
    ++origin_fetches;
    if (d.kind == CacheDecision::Kind::kPass) {
      Reply r = origin("");
      std::vector<Field> request = to_fields(ask.fields), fields = to_fields(r.fields);
      ResponseView response{r.status, fields, r.body.size(), !r.body.empty()};
      cache.passed(view(ask, request), policy, response, now);
      return r;
    }
    last_lines = d.fill->request_lines();
    Reply r = origin(last_lines);
    CacheAnswer answer;
    if (r.status == 0)
      return d.fill->on_error(now, answer) ? read(answer, origin) : Reply{502, {}, ""};
    Fill::Start start = feed(*d.fill, r, answer);
    if (start == Fill::Start::kAgain) {
      ++origin_fetches;
      last_lines = d.fill->request_lines();
      r = origin(last_lines);
      start = feed(*d.fill, r, answer);
    }
    return start == Fill::Start::kPass ? r : read(answer, origin);
  }
  Fill::Start feed(Fill& fill, const Reply& reply, CacheAnswer& answer) {
    Fill::Start start = respond(fill, reply, answer);
    if (start == Fill::Start::kStore) {
      fill.append(reply.body, {this, 99});
      fill.finish();
    }
    return start;
  }
  // `origin`: for what the answer's body wants fetched on the way.
  Reply read(const CacheAnswer& a, const std::function<Reply(const std::string&)>& origin = {}) {
    Reply r;
    r.status = a.status;
    auto add = [&](std::string_view lines) {
      while (!lines.empty()) {
        std::size_t end = lines.find("\r\n"), colon = lines.find(": ");
        r.fields.emplace_back(lines.substr(0, colon), lines.substr(colon + 2, end - colon - 2));
        lines.remove_prefix(end + 2);
      }
    };
    add(a.field_lines);
    add(a.added_lines());
    if (a.body == nullptr) return r;
    std::uint64_t offset = a.offset;
    while (a.size == CacheAnswer::kUnknown || offset < a.offset + a.size) {
      Body::Piece p = a.body->read(offset, {this, 7});
      if (p.kind == Body::Piece::Kind::kFile) {
        std::string bytes(a.size == CacheAnswer::kUnknown
                              ? p.size
                              : std::min<std::uint64_t>(p.size, a.offset + a.size - offset),
                          '\0');
        if (pread(p.fd, bytes.data(), bytes.size(), static_cast<off_t>(p.file_offset)) !=
            static_cast<ssize_t>(bytes.size())) {
          r.status = -1;
          break;
        }
        r.body += bytes;
        offset += bytes.size();
        continue;
      }
      if (p.kind == Body::Piece::Kind::kFetch) {
        fetch(*a.body->take_fetch(), origin);
        continue;
      }
      if (p.kind == Body::Piece::Kind::kWait) {  // for the disk: nobody else fetches here
        cache.flush_disk();
        continue;
      }
      if (p.kind != Body::Piece::Kind::kMemory) {
        if (p.kind == Body::Piece::Kind::kAborted) r.status = -1;
        break;
      }
      std::size_t n = p.size;
      if (a.size != CacheAnswer::kUnknown) {
        n = static_cast<std::size_t>(std::min<std::uint64_t>(n, a.offset + a.size - offset));
      }
      r.body.append(p.data, n);
      offset += n;
    }
    return r;
  }
  // As an exchange does that no client waits for.
  void fetch(Fill& fill, const std::function<Reply(const std::string&)>& origin) {
    ++origin_fetches;
    const Reply r = origin(std::string(fill.request_lines()));
    CacheAnswer ignored;
    if (r.status == 0) {
      fill.on_error(now, ignored);
    } else {
      feed(fill, r, ignored);
    }
  }
  static std::string field(const Reply& r, std::string_view name) {
    for (const auto& [n, v] : r.fields) {
      if (same_name(n, name)) return v;
    }
    return "(none)";
  }

  CachePolicy policy;
  Now now{BootTime{} + std::chrono::hours(100), WallTime{} + std::chrono::seconds(kEpochSeconds)};
  int origin_fetches = 0;
  std::string last_lines;  // what the cache added to the last request to the origin

 private:
  std::mutex mutex_;
  std::map<std::uint64_t, int> woken_;

 public:
  HttpCache cache;  // the last: its threads end before what they wake
};

}  // namespace leeward::edge
