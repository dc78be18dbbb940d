#include "mysql/replication_client.h"

#include <algorithm>
#include <utility>

#include "mysql/bytes.h"
#include "mysql/internal/assembler.h"
#include "mysql/internal/channel.h"
#include "mysql/internal/login.h"

namespace leeward::mysql {
namespace {

constexpr std::uint8_t kQuery = 0x03, kBinlogDump = 0x12, kRegisterReplica = 0x15,
                       kBinlogDumpGtid = 0x1e;
constexpr std::uint16_t kNonBlocking = 0x01, kSendAnnotations = 0x02, kThroughGtid = 0x04;
constexpr std::size_t kAnswerBytesMax = 1u << 20;
constexpr std::uint32_t kLogStart = 4;  // behind the magic number
constexpr std::uint8_t kSemiSyncMark = 0xef;

std::string little(std::uint64_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> 8 * i);
  return bytes;
}

std::string short_text(std::string_view text) {
  text = text.substr(0, 255);
  return static_cast<char>(text.size()) + std::string(text);
}

bool is_end(std::string_view payload) {
  constexpr std::size_t kEndMax = 9;
  return static_cast<std::uint8_t>(payload[0]) == 0xfe && payload.size() < kEndMax;
}

}  // namespace

class ReplicationClient::Impl {
 public:
  Impl(const ReplicationSource& source, internal::Channel channel)
      : peer_(to_string(source.endpoint)),
        user_(source.user),
        channel_(std::move(channel)),
        assembler_(kBufferBytes) {}

  Status log_in(const ReplicationSource& source, BootTime deadline);
  Result<std::vector<std::optional<std::string>>> ask(std::string_view sql, BootTime deadline);
  Status start(const DumpRequest& request, BootTime deadline);
  Result<std::optional<Received>> next(BootTime deadline);
  Status acknowledge(const LogPosition& log, BootTime deadline);

  Flavor flavor_ = Flavor::kMariadb;
  std::string version_;
  StreamTracker tracker_;
  std::optional<internal::Assembler::Piece> ahead_;
  internal::Channel& channel() { return channel_; }
  Status look_ahead();
  const std::string& peer() const { return peer_; }

 private:
  Result<std::string_view> packet(BootTime deadline);
  Status send(std::uint8_t sequence, std::string_view payload, BootTime deadline);
  Status command(std::string_view payload, BootTime deadline);
  Status execute(const std::string& sql, BootTime deadline);
  Result<Received> whole(const internal::Assembler::Piece& piece);
  Result<Received> part(const internal::Assembler::Piece& piece);
  Status passed(const Event& event);
  tl::unexpected<Error> located(Error error) const;

  std::string peer_;
  std::string user_;
  internal::Channel channel_;
  internal::Assembler assembler_;
  bool checksums_ = false;
  bool started_ = false;  // the stream has been asked for

  // Of an event in parts.
  std::string beginning_;
  Event large_;
  std::uint64_t at_ = 0;
  std::uint32_t sum_ = 0;
  std::string told_sum_;
};

tl::unexpected<Error> ReplicationClient::Impl::located(Error error) const {
  std::string where = fmt::format("source {}", peer_);
  if (!tracker_.log().file.empty()) where += fmt::format(", {}", to_string(tracker_.log()));
  if (started_)
    where += tracker_.inside() ? fmt::format(", in {}", to_string(tracker_.transaction()))
                               : fmt::format(", after {}", to_string(tracker_.position()));
  return fail(std::move(error).wrap(where));
}

Result<std::string_view> ReplicationClient::Impl::packet(BootTime deadline) {
  for (;;) {
    auto packet = assembler_.packet();
    if (!packet) return fail(std::move(packet.error()));
    if (*packet) return **packet;
    auto space = assembler_.space();
    auto count = channel_.read(space.data(), space.size(), deadline);
    if (!count) return fail(std::move(count.error()));
    assembler_.filled(*count);
  }
}

Status ReplicationClient::Impl::send(std::uint8_t sequence, std::string_view payload,
                                     BootTime deadline) {
  if (payload.size() >= internal::Assembler::kPacketMax)
    return fail(Code::kInvalid, "a request of {} bytes is too long", payload.size());
  std::string bytes = little(payload.size(), 3);
  bytes += static_cast<char>(sequence);
  bytes += payload;
  return channel_.write(bytes, deadline);
}

Status ReplicationClient::Impl::log_in(const ReplicationSource& source, BootTime deadline) {
  bool want_tls = source.tls.mode != TlsMode::kOff;
  internal::Login login({source.user, source.password}, want_tls);
  auto act = [&](internal::Login::Step& step) -> Status {
    if (!step.send) return {};
    auto next = static_cast<std::uint8_t>(assembler_.sequence() + 1);
    if (auto sent = send(next, *step.send, deadline); !sent) return sent;
    if (!step.start_tls) return {};
    if (auto safe = channel_.start_tls(source.tls, source.endpoint.host, deadline); !safe)
      return safe;
    auto login_step = login.encrypted();
    if (!login_step) return fail(std::move(login_step.error()));
    return send(static_cast<std::uint8_t>(next + 1), *login_step->send, deadline);
  };
  for (;;) {
    auto payload = packet(deadline);
    if (!payload) return fail(std::move(payload.error()));
    auto step = login.take(*payload);
    if (!step) return fail(std::move(step.error()));
    if (auto done = act(*step); !done) return done;
    if (step->done) break;
  }
  version_ = login.server_version();
  flavor_ = login.mariadb() ? Flavor::kMariadb : Flavor::kMysql;
  return {};
}

Status ReplicationClient::Impl::command(std::string_view payload, BootTime deadline) {
  return send(0, payload, deadline);
}

Result<std::vector<std::optional<std::string>>> ReplicationClient::Impl::ask(std::string_view sql,
                                                                             BootTime deadline) {
  std::string request(1, static_cast<char>(kQuery));
  request += sql;
  if (auto sent = command(request, deadline); !sent) return fail(std::move(sent.error()));
  std::vector<std::optional<std::string>> cells;
  auto first = packet(deadline);
  if (!first) return fail(std::move(first.error()));
  if (auto error = internal::parse_server_error(*first)) return fail(internal::to_error(*error));
  if (first->empty()) return fail(Code::kCorrupt, "an empty answer");
  if ((*first)[0] == 0) return cells;  // no result
  std::size_t answer_bytes = 0;
  // Columns, an end, rows, an end.
  for (int ends = 0; ends < 2;) {
    auto payload = packet(deadline);
    if (!payload) return fail(std::move(payload.error()));
    if (auto error = internal::parse_server_error(*payload))
      return fail(internal::to_error(*error));
    answer_bytes += payload->size();
    if (answer_bytes > kAnswerBytesMax)
      return fail(Code::kRefused, "the answer is longer than {} bytes", kAnswerBytesMax);
    if (payload->empty()) return fail(Code::kCorrupt, "an empty packet in an answer");
    if (is_end(*payload)) {
      ++ends;
      continue;
    }
    if (ends == 0 || !cells.empty()) continue;
    for (Bytes row(*payload); row.left() > 0;) {
      if (static_cast<std::uint8_t>(row.rest()[0]) == 0xfb) {
        row.take(1);
        cells.emplace_back();
      } else {
        cells.emplace_back(std::string(row.take(row.packed())));
      }
      if (!row.ok()) return fail(Code::kCorrupt, "a malformed row in an answer");
    }
  }
  return cells;
}

Status ReplicationClient::Impl::execute(const std::string& sql, BootTime deadline) {
  auto done = ask(sql, deadline);
  if (!done) return fail(std::move(done.error()));
  return {};
}

Status ReplicationClient::Impl::start(const DumpRequest& request, BootTime deadline) {
  auto checksum = ask("SELECT @@global.binlog_checksum", deadline);
  if (!checksum) return fail(std::move(checksum.error()));
  checksums_ = !checksum->empty() && checksum->front() == "CRC32";
  bool mariadb = flavor_ == Flavor::kMariadb;
  auto period = std::to_string(request.heartbeat.count());
  std::vector<std::string> statements = {
      "SET @master_binlog_checksum = @@global.binlog_checksum",
      "SET @master_heartbeat_period = " + period,
  };
  bool by_gtid = request.by_gtid;
  if (mariadb) {
    statements.push_back("SET @mariadb_slave_capability = 4");
    if (by_gtid) {
      // GTIDs are digits, dashes and commas: nothing to escape.
      statements.push_back("SET @slave_connect_state = '" + to_string(request.from.gtids) + "'");
      statements.push_back(fmt::format("SET @slave_gtid_strict_mode = {}", request.strict ? 1 : 0));
      statements.push_back("SET @slave_gtid_ignore_duplicates = 0");
    }
  } else {
    // A replica without an identity would be taken for another one without; ours follows its
    // number.
    std::string uuid = fmt::format("{:08x}-6c65-6577-6172-640000000000", request.server_id);
    statements.push_back("SET @source_binlog_checksum = @@global.binlog_checksum");
    statements.push_back("SET @source_heartbeat_period = " + period);
    statements.push_back(fmt::format("SET @slave_uuid = '{0}', @replica_uuid = '{0}'", uuid));
  }
  if (request.semi_sync)
    statements.push_back(mariadb ? "SET @rpl_semi_sync_slave = 1"
                                 : "SET @rpl_semi_sync_slave = 1, @rpl_semi_sync_replica = 1");
  for (const std::string& statement : statements)
    if (auto done = execute(statement, deadline); !done) return done;

  std::string registration(1, static_cast<char>(kRegisterReplica));
  registration += little(request.server_id, 4) + short_text(request.report_host) + short_text("") +
                  short_text("") + little(0, 2) + little(0, 4) + little(0, 4);
  if (auto sent = command(registration, deadline); !sent) return sent;
  auto answer = packet(deadline);
  if (!answer) return fail(std::move(answer.error()));
  if (auto error = internal::parse_server_error(*answer)) return fail(internal::to_error(*error));

  std::uint16_t flags = request.stop_at_end ? kNonBlocking : 0;
  std::string dump;
  if (!mariadb && by_gtid) {
    std::string set = encode_gtid_set(request.from.executed);
    dump = static_cast<char>(kBinlogDumpGtid) + little(flags | kThroughGtid, 2) +
           little(request.server_id, 4) + little(0, 4) + little(kLogStart, 8) +
           little(set.size(), 4) + set;
  } else {
    if (mariadb && request.annotations) flags |= kSendAnnotations;
    std::uint64_t offset =
        by_gtid ? kLogStart : std::max<std::uint64_t>(request.from.log.offset, kLogStart);
    if (offset > UINT32_MAX)
      return fail(Code::kInvalid, "position {} is beyond 4 GiB, where a stream cannot begin",
                  to_string(request.from.log));
    dump = static_cast<char>(kBinlogDump) + little(offset, 4) + little(flags, 2) +
           little(request.server_id, 4) + (by_gtid ? "" : request.from.log.file);
  }
  tracker_ = StreamTracker(request.from);
  started_ = true;
  assembler_.stream(request.semi_sync);
  return command(dump, deadline);
}

Status ReplicationClient::Impl::look_ahead() {
  auto piece = assembler_.next();
  if (!piece) return fail(std::move(piece.error()));
  ahead_ = std::move(*piece);
  return {};
}

Status ReplicationClient::Impl::passed(const Event& event) {
  if (event.type == EventType::kFormatDescription) {
    auto format = parse_format_description(event);
    if (!format) return fail(std::move(format.error()));
    checksums_ = format->checksums;
  }
  auto place = tracker_.take(event);
  if (!place) return fail(std::move(place.error()));
  return {};
}

Result<Received> ReplicationClient::Impl::whole(const internal::Assembler::Piece& piece) {
  auto event = parse_event(piece.bytes, checksums_);
  if (!event) return fail(std::move(event.error()));
  Received received;
  received.event = *event;
  received.part = piece.bytes;
  received.size = piece.size;
  received.wants_acknowledgement = piece.wants_acknowledgement;
  received.checksummed = checksums_;
  if (auto known = passed(*event); !known) return fail(std::move(known.error()));
  if (event->type == EventType::kFormatDescription) received.checksummed = checksums_;
  return received;
}

Result<Received> ReplicationClient::Impl::part(const internal::Assembler::Piece& piece) {
  if (piece.first) {
    beginning_ = piece.bytes.substr(0, internal::Assembler::kFirstPartMin);
    auto head = parse_event_head(beginning_);
    if (!head) return fail(std::move(head.error()));
    large_ = *head;
    at_ = 0;
    sum_ = 0;
    told_sum_.clear();
  }
  std::uint64_t summed = piece.size - (checksums_ ? kEventChecksumBytes : 0);
  std::size_t count = static_cast<std::size_t>(
      std::min<std::uint64_t>(piece.bytes.size(), summed > at_ ? summed - at_ : 0));
  if (checksums_) {
    sum_ = crc32(piece.bytes.substr(0, count), sum_);
    told_sum_ += piece.bytes.substr(count);
  }
  at_ += piece.bytes.size();
  Received received;
  received.event = large_;
  received.part = piece.bytes;
  received.size = piece.size;
  received.first = piece.first;
  received.last = piece.last;
  received.wants_acknowledgement = piece.wants_acknowledgement;
  received.checksummed = checksums_;
  if (!piece.last) return received;
  if (checksums_ && Bytes(told_sum_).little(4) != sum_)
    return fail(Code::kCorrupt, "{} event: wrong checksum", to_string(large_.type));
  if (auto known = passed(large_); !known) return fail(std::move(known.error()));
  return received;
}

Result<std::optional<Received>> ReplicationClient::Impl::next(BootTime deadline) {
  for (;;) {
    if (!ahead_)
      if (auto looked = look_ahead(); !looked) return located(std::move(looked.error()));
    if (!ahead_) {
      auto space = assembler_.space();
      auto count = channel_.read(space.data(), space.size(), deadline);
      if (!count) return located(std::move(count.error()));
      assembler_.filled(*count);
      continue;
    }
    internal::Assembler::Piece piece = *std::exchange(ahead_, std::nullopt);
    if (piece.end) return std::nullopt;
    if (!piece.error.empty()) {
      auto error = internal::parse_server_error(piece.error);
      if (!error) return located(Error{Code::kCorrupt, "a malformed error packet"});
      return located(internal::to_error(*error));
    }
    auto received = piece.first && piece.last ? whole(piece) : part(piece);
    if (!received) return located(std::move(received.error()));
    return std::optional(*received);
  }
}

Status ReplicationClient::Impl::acknowledge(const LogPosition& log, BootTime deadline) {
  std::string reply(1, static_cast<char>(kSemiSyncMark));
  reply += little(log.offset, 8) + log.file;
  if (auto sent = send(0, reply, deadline); !sent) return located(std::move(sent.error()));
  return {};
}

ReplicationClient::ReplicationClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ReplicationClient::~ReplicationClient() = default;

Result<std::unique_ptr<ReplicationClient>> ReplicationClient::connect(
    const ReplicationSource& source, BootTime deadline) {
  std::string where = fmt::format("source {}, user {}", to_string(source.endpoint), source.user);
  auto channel = internal::Channel::connect(source.endpoint, deadline);
  if (!channel) return fail(std::move(channel.error()).wrap(where));
  auto impl = std::make_unique<Impl>(source, std::move(*channel));
  if (auto in = impl->log_in(source, deadline); !in) return fail(std::move(in.error()).wrap(where));
  return std::unique_ptr<ReplicationClient>(new ReplicationClient(std::move(impl)));
}

Flavor ReplicationClient::flavor() const { return impl_->flavor_; }
const std::string& ReplicationClient::server_version() const { return impl_->version_; }
bool ReplicationClient::encrypted() const { return impl_->channel().encrypted(); }
const StreamTracker& ReplicationClient::tracker() const { return impl_->tracker_; }

Result<std::vector<std::optional<std::string>>> ReplicationClient::ask(std::string_view sql,
                                                                       BootTime deadline) {
  auto row = impl_->ask(sql, deadline);
  if (!row) return fail(std::move(row.error()).wrap(fmt::format("source {}", impl_->peer())));
  return row;
}

Status ReplicationClient::start(const DumpRequest& request, BootTime deadline) {
  auto started = impl_->start(request, deadline);
  if (!started)
    return fail(std::move(started.error()).wrap(fmt::format("source {}", impl_->peer())));
  return {};
}

Result<std::optional<Received>> ReplicationClient::next(BootTime deadline) {
  return impl_->next(deadline);
}

bool ReplicationClient::buffered() const {
  // What is malformed is found again, and told, by next().
  if (!impl_->ahead_) (void)impl_->look_ahead();
  return impl_->ahead_.has_value();
}

Status ReplicationClient::acknowledge(const LogPosition& log, BootTime deadline) {
  return impl_->acknowledge(log, deadline);
}

}  // namespace leeward::mysql
