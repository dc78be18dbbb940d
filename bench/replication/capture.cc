// Reads a source's binary logs from the beginning to their present end and says how fast, and what
// it cost this process: our client with checksums verified, with or without the relay log behind
// it, or libmariadb's mariadb_rpl_fetch with checksums verified. Usage: see run.sh.
#include <mariadb/mysql.h>
// The header below needs the one above.
#include <mariadb/mariadb_rpl.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "mysql/replication_client.h"
#include "replication/relay_log.h"

namespace {

using leeward::BootClock;
using namespace std::chrono_literals;

struct Counted {
  std::uint64_t events = 0;
  std::uint64_t bytes = 0;
};

[[noreturn]] void die(const std::string& reason) {
  std::fprintf(stderr, "%s\n", reason.c_str());
  std::exit(1);
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Counted ours(const leeward::mysql::ReplicationSource& source, const std::string& directory) {
  auto client = leeward::mysql::ReplicationClient::connect(source, BootClock::now() + 10s);
  if (!client) die(client.error().message);
  leeward::mysql::DumpRequest request;
  request.server_id = 7001;
  request.stop_at_end = true;
  if (auto started = (*client)->start(request, BootClock::now() + 10s); !started)
    die(started.error().message);
  std::unique_ptr<leeward::replication::RelayLog> log;
  if (!directory.empty()) {
    auto opened = leeward::replication::RelayLog::open({directory, 64u << 20, 64ull << 30}, {});
    if (!opened) die(opened.error().message);
    log = std::move(*opened);
  }
  Counted counted;
  std::uint64_t unsynced = 0;
  constexpr std::uint64_t kSyncBytes = 8u << 20;
  for (;;) {
    auto received = (*client)->next(BootClock::now() + 30s);
    if (!received) die(received.error().message);
    if (!*received) break;
    counted.events += (*received)->last;
    counted.bytes += (*received)->part.size();
    if (!log) continue;
    if (auto appended = log->append(**received); !appended) die(appended.error().message);
    unsynced += (*received)->part.size();
    if (unsynced < kSyncBytes && (*client)->buffered()) continue;
    if (unsynced < kSyncBytes / 8) continue;
    if (auto synced = log->sync(); !synced) die(synced.error().message);
    unsynced = 0;
  }
  if (log)
    if (auto synced = log->sync(); !synced) die(synced.error().message);
  return counted;
}

Counted theirs(const leeward::mysql::ReplicationSource& source) {
  MYSQL* sql = mysql_init(nullptr);
  if (!mysql_real_connect(sql, source.endpoint.host.c_str(), source.user.c_str(),
                          source.password.c_str(), nullptr, source.endpoint.port, nullptr, 0))
    die(mysql_error(sql));
  for (const char* statement : {"SET @master_binlog_checksum = @@global.binlog_checksum",
                                "SET @mariadb_slave_capability = 4",
                                "SET @slave_connect_state = ''", "SET @slave_gtid_strict_mode = 1"})
    if (mysql_query(sql, statement) != 0) die(mysql_error(sql));
  MARIADB_RPL* reader = mariadb_rpl_init(sql);
  mariadb_rpl_optionsv(reader, MARIADB_RPL_SERVER_ID, 7002u);
  mariadb_rpl_optionsv(reader, MARIADB_RPL_START, 4ul);
  mariadb_rpl_optionsv(reader, MARIADB_RPL_FLAGS, unsigned{MARIADB_RPL_BINLOG_DUMP_NON_BLOCK});
  mariadb_rpl_optionsv(reader, MARIADB_RPL_VERIFY_CHECKSUM, 1u);
  if (mariadb_rpl_open(reader) != 0) die(mariadb_rpl_error(reader));
  Counted counted;
  MARIADB_RPL_EVENT* event = nullptr;
  while ((event = mariadb_rpl_fetch(reader, event)) != nullptr) {
    ++counted.events;
    counted.bytes += event->event_length;
  }
  mariadb_rpl_close(reader);
  mysql_close(sql);
  return counted;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5 && argc != 6)
    die("usage: leeward-bench-capture ours|libmariadb PORT USER PASSWORD [RELAY-DIRECTORY]");
  auto port = static_cast<std::uint16_t>(std::atoi(argv[2]));
  leeward::mysql::ReplicationSource source{{"127.0.0.1", port}, argv[3], argv[4], {}};
  auto start = std::chrono::steady_clock::now();
  double cpu = cpu_seconds();
  Counted counted =
      std::string(argv[1]) == "ours" ? ours(source, argc == 6 ? argv[5] : "") : theirs(source);
  cpu = cpu_seconds() - cpu;
  double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  double megabytes = static_cast<double>(counted.bytes) / 1e6;
  std::printf("%llu events, %.0f MB in %.2f s: %.0f MB/s; %.2f s of CPU: %.0f MB/s per core\n",
              static_cast<unsigned long long>(counted.events), megabytes, wall, megabytes / wall,
              cpu, megabytes / cpu);
  return 0;
}
