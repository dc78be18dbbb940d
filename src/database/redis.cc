#include "database/redis.h"

#include <hiredis/hiredis.h>

#include <charconv>
#include <cstdlib>
#include <map>
#include <vector>

namespace leeward::database {
namespace {

constexpr const char* kMark = "leeward:promotion";
constexpr std::uint64_t kFence = 1'000'000;  // replicas; a server cannot have that many
constexpr const char* kConfirmMilliseconds = "500";

timeval as_timeval(Duration d) {
  auto micros = std::chrono::duration_cast<std::chrono::microseconds>(d).count();
  return {micros / 1'000'000, micros % 1'000'000};
}

struct Free {
  void operator()(redisContext* context) const { redisFree(context); }
  void operator()(void* reply) const { freeReplyObject(reply); }
};
using Connection = std::unique_ptr<redisContext, Free>;

// "key:value" lines of INFO.
std::map<std::string, std::string, std::less<>> parse_info(std::string_view text) {
  std::map<std::string, std::string, std::less<>> fields;
  while (!text.empty()) {
    std::size_t end = text.find("\r\n");
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 2);
    std::size_t colon = line.find(':');
    if (colon != std::string_view::npos)
      fields.emplace(line.substr(0, colon), line.substr(colon + 1));
  }
  return fields;
}

std::uint64_t number(const std::string& text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Of the replicas in INFO's "slaveN:ip=..,port=..,state=..,offset=..,lag=.." those that have
// acknowledged all up to `offset`.
std::uint64_t replicas_at(const std::map<std::string, std::string, std::less<>>& fields,
                          std::uint64_t offset) {
  constexpr std::string_view kOffset = ",offset=";
  std::uint64_t count = 0;
  for (const auto& [key, value] : fields) {
    std::size_t at = value.find(kOffset);
    if (key.starts_with("slave") && at != std::string::npos &&
        number(value.substr(at + kOffset.size())) >= offset)
      ++count;
  }
  return count;
}

// "epoch term"; anything else is no promotion of ours.
Promotion parse_mark(std::string_view text) {
  std::size_t blank = text.find(' ');
  if (blank == std::string_view::npos) return {};
  return {Epoch{number(std::string(text.substr(0, blank)))},
          Term{number(std::string(text.substr(blank + 1)))}};
}

std::string mark(const Promotion& promotion) {
  return fmt::format("{} {}", promotion.epoch.value, promotion.term.value);
}

}  // namespace

struct Redis::Impl {
  explicit Impl(RedisOptions o) : options(std::move(o)) {}

  Status connect() {
    if (connection && connection->err == 0) return {};
    connection.reset(redisConnectWithTimeout(options.local.host.c_str(), options.local.port,
                                             as_timeval(options.timeout)));
    if (!connection) return fail(Code::kInternal, "out of memory");
    if (connection->err != 0) return failure();
    redisSetTimeout(connection.get(), as_timeval(options.timeout));
    if (options.password.empty()) return {};
    auto answered = options.user.empty() ? send({"AUTH", options.password})
                                         : send({"AUTH", options.user, options.password});
    if (!answered) connection.reset();  // the next call must not go on without having logged in
    if (!answered) return fail(std::move(answered.error()));
    return {};
  }

  tl::unexpected<Error> failure() {
    // hiredis reports an expired socket timeout as EAGAIN.
    bool late = connection->err == REDIS_ERR_IO && (errno == EAGAIN || errno == ETIMEDOUT);
    return fail(late ? Code::kTimeout : Code::kUnavailable, "Redis at {}: {}",
                to_string(options.local), late ? "no answer in time" : connection->errstr);
  }

  static std::string text_of(const redisReply& reply) {
    if (reply.type == REDIS_REPLY_INTEGER) return std::to_string(reply.integer);
    if (reply.type == REDIS_REPLY_ARRAY)  // CONFIG GET: name, value
      return reply.elements == 2 ? text_of(*reply.element[1]) : std::string();
    return reply.str ? std::string(reply.str, reply.len) : std::string();
  }

  // A replica that was told not to serve stale data does not show the mark; then it is the one last
  // seen in the same history.
  Status read_mark(RedisStatus& status) {
    auto text = command({"GET", kMark});
    if (text) {
      seen_history = status.history;
      seen_promotion = parse_mark(*text);
    } else if (text.error().message.find("MASTERDOWN") == std::string::npos) {
      return fail(std::move(text.error()));
    }
    if (seen_history == status.history) status.promotion = seen_promotion;
    return {};
  }

  // The text of the answer; empty for one without text.
  Result<std::string> send(const std::vector<std::string>& words) {
    std::vector<const char*> texts;
    std::vector<std::size_t> sizes;
    for (const std::string& word : words) {
      texts.push_back(word.data());
      sizes.push_back(word.size());
    }
    errno = 0;
    std::unique_ptr<void, Free> raw(redisCommandArgv(
        connection.get(), static_cast<int>(words.size()), texts.data(), sizes.data()));
    if (!raw) return failure();
    const auto* reply = static_cast<redisReply*>(raw.get());
    std::string text = text_of(*reply);
    if (reply->type != REDIS_REPLY_ERROR) return text;
    bool account =
        text.starts_with("NOAUTH") || text.starts_with("WRONGPASS") || text.starts_with("ERR AUTH");
    return fail(account ? Code::kUnauthorized : Code::kUnhealthy, "Redis at {}: {}",
                to_string(options.local), text);
  }

  Result<std::string> command(const std::vector<std::string>& words) {
    if (auto connected = connect(); !connected) return fail(std::move(connected.error()));
    return send(words);
  }

  const RedisOptions options;
  Connection connection;
  std::string seen_history;
  Promotion seen_promotion;
};

Redis::Redis(RedisOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Redis::Redis(Redis&&) noexcept = default;
Redis::~Redis() = default;

Result<RedisStatus> Redis::status() {
  auto text = impl_->command({"INFO", "replication"});
  if (!text) return fail(std::move(text.error()));
  auto fields = parse_info(*text);
  RedisStatus status;
  status.primary = fields["role"] == "master";
  status.replicas = number(fields["connected_slaves"]);
  status.offset = number(fields[status.primary ? "master_repl_offset" : "slave_repl_offset"]);
  status.level_replicas = replicas_at(fields, status.offset);
  if (!status.primary) {
    status.source = {fields["master_host"],
                     static_cast<std::uint16_t>(number(fields["master_port"]))};
    status.link_up =
        fields["master_link_status"] == "up" && fields["master_sync_in_progress"] == "0";
  }
  status.history = fields["master_replid"];
  status.history_before = fields["master_replid2"];
  std::int64_t second = std::strtoll(fields["second_repl_offset"].c_str(), nullptr, 10);
  // Redis names the first offset that is no longer of that history.
  if (second > 0) status.parted_at = static_cast<std::uint64_t>(second) - 1;
  auto wanted = impl_->command({"CONFIG", "GET", "min-replicas-to-write"});
  if (!wanted) return fail(std::move(wanted.error()));
  status.fenced = number(*wanted) >= kFence;
  if (auto read = impl_->read_mark(status); !read) return fail(std::move(read.error()));
  return status;
}

Status Redis::follow(const Endpoint& source) {
  auto now = status();
  if (!now) return fail(std::move(now.error()));
  if (!now->primary && now->source == source) return {};
  if (!impl_->options.user.empty())
    if (auto set = impl_->command({"CONFIG", "SET", "masteruser", impl_->options.user}); !set)
      return fail(std::move(set.error()));
  if (!impl_->options.password.empty())
    if (auto set = impl_->command({"CONFIG", "SET", "masterauth", impl_->options.password}); !set)
      return fail(std::move(set.error()));
  auto done = impl_->command({"REPLICAOF", source.host, std::to_string(source.port)});
  if (!done) return fail(std::move(done.error()));
  return {};
}

Status Redis::promote(Promotion promotion) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"CONFIG", "SET", "min-replicas-to-write", "0"},
        std::vector<std::string>{"REPLICAOF", "NO", "ONE"},
        std::vector<std::string>{"SET", kMark, mark(promotion)}})
    if (auto done = impl_->command(words); !done) return fail(std::move(done.error()));
  return {};
}

Status Redis::everything_copied() {
  auto now = status();
  if (!now) return fail(std::move(now.error()));
  std::uint64_t level = now->level_replicas;
  if (!now->fenced) {
    // WAIT is about what this connection wrote, so it writes; that comes after everything of the
    // clients.
    if (auto set = impl_->command({"SET", kMark, mark(now->promotion)}); !set)
      return fail(std::move(set.error()));
    auto copies = impl_->command({"WAIT", std::to_string(now->replicas), kConfirmMilliseconds});
    if (!copies) return fail(std::move(copies.error()));
    level = number(*copies);
  }
  if (level >= now->replicas) return {};
  return fail(Code::kTimeout, "Redis at {}: {} of {} replicas have everything",
              to_string(impl_->options.local), level, now->replicas);
}

Status Redis::fence(bool confirm) {
  Status confirmed;
  if (confirm) confirmed = everything_copied();
  auto set = impl_->command({"CONFIG", "SET", "min-replicas-to-write", std::to_string(kFence)});
  if (!set) return fail(std::move(set.error()));
  return confirmed;
}

Result<std::string> Redis::run(const std::vector<std::string>& words) {
  return impl_->command(words);
}

}  // namespace leeward::database
