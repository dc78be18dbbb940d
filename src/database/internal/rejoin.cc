#include "database/internal/rejoin.h"

#include <mariadb/mysqld_error.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "database/internal/extract.h"
#include "database/internal/undo.h"
#include "mysql/binlog_reader.h"
#include "replication/native.h"

namespace leeward::database::internal {
namespace {

constexpr Duration kReadStall = 30s;
constexpr Duration kUndoTimeout = 10min;
constexpr std::size_t kUndoBytesMax = 256u << 20;  // row images kept in memory; beyond: reload
constexpr std::uint64_t kTellEvery = 10'000;       // transactions between two calls of progress

Result<mysql::DecoderContext> decoder_context(mysql::SqlConnection& sql, BootTime deadline) {
  auto charsets = sql.query(
      "SELECT id, character_set_name FROM information_schema.collation_character_set_applicability",
      deadline);
  if (!charsets) return fail(std::move(charsets.error()));
  std::map<std::uint32_t, mysql::TextKind> kinds;
  for (const auto& row : charsets->rows) {
    std::string charset = row[1].value_or("");
    bool opaque = charset == "binary" || charset == "ucs2" || charset.starts_with("utf16") ||
                  charset == "utf32";
    mysql::TextKind kind = opaque                        ? mysql::TextKind::kOpaque
                           : charset.starts_with("utf8") ? mysql::TextKind::kUtf8
                                                         : mysql::TextKind::kAscii;
    kinds[static_cast<std::uint32_t>(std::atoi(row[0].value_or("0").c_str()))] = kind;
  }
  auto columns = sql.query(
      "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns "
      "WHERE data_type "
      "IN ('uuid', 'inet4', 'inet6') AND table_schema NOT IN ('information_schema', "
      "'performance_schema')",
      deadline);
  if (!columns) return fail(std::move(columns.error()));
  std::map<std::string, mysql::Disguise> disguises;
  for (const auto& row : columns->rows) {
    std::string type = row[3].value_or("");
    disguises[mysql::quote_name(*row[0]) + mysql::quote_name(*row[1]) +
              mysql::quote_name(*row[2])] = type == "uuid"    ? mysql::Disguise::kUuid
                                            : type == "inet4" ? mysql::Disguise::kInet4
                                                              : mysql::Disguise::kInet6;
  }
  mysql::DecoderContext context;
  context.text_kind = [kinds = std::move(kinds)](std::uint32_t collation) {
    auto found = kinds.find(collation);
    return found == kinds.end() ? mysql::TextKind::kOpaque : found->second;
  };
  context.disguise = [disguises = std::move(disguises)](
                         std::string_view schema, std::string_view table, std::string_view column) {
    if (disguises.empty()) return mysql::Disguise::kNone;
    auto found = disguises.find(mysql::quote_name(schema) + mysql::quote_name(table) +
                                mysql::quote_name(column));
    return found == disguises.end() ? mysql::Disguise::kNone : found->second;
  };
  return context;
}

std::size_t raw_bytes(const mysql::Transaction& transaction) {
  std::size_t bytes = 0;
  for (const mysql::RawRows& rows : transaction.raw)
    for (const std::string& image : rows.images) bytes += image.size() + sizeof image;
  return bytes;
}

}  // namespace

Status Rejoin::enter(FollowPhase phase) {
  at_.phase = phase;
  options_.logger.debug("rejoin", {{"phase", name(phase)}});
  if (progress_ && !progress_(at_))
    return fail(Code::kTimeout, "follow: stopped before {}", name(phase));
  return {};
}

Result<FollowOutcome> Rejoin::run(const std::string& reload_because) {
  if (auto entered = enter(FollowPhase::kCompare); !entered)
    return fail(std::move(entered.error()));
  auto source = mysql::SqlConnection::open(remote(), soon());
  if (!source) return fail(std::move(source.error()).wrap("follow"));
  auto theirs = read_history(*source, soon());
  if (!theirs) return fail(std::move(theirs.error()).wrap("follow"));

  if (std::filesystem::exists(journal_path())) {
    if (theirs->epoch() != epoch_)
      return fail(Code::kRefused, "follow: the source is at epoch {}, not {}",
                  theirs->epoch().value, epoch_.value);
    auto reloaded = reload("an earlier reload was interrupted");
    if (!reloaded) return fail(std::move(reloaded.error()).wrap("follow"));
  } else {
    auto finished = finish_interrupted_rewind();
    if (!finished) return fail(std::move(finished.error()).wrap("follow"));
    auto own = read_history(sql_, soon());
    if (!own) return fail(std::move(own.error()).wrap("follow"));
    auto parting = compare(*own, *theirs, epoch_);
    if (!parting) return fail(std::move(parting.error()).wrap("follow"));
    diverged_ = parting->kind == Parting::Kind::kAhead || parting->kind == Parting::Kind::kErrant;
    auto recovered = recover(*parting, *own, reload_because);
    if (!recovered) return fail(std::move(recovered.error()).wrap("follow"));
  }
  diverged_ = false;
  if (auto connected = connect(); !connected)
    return fail(std::move(connected.error()).wrap("follow"));
  return outcome_;
}

// Brings the data to a prefix of the source's history.
Status Rejoin::recover(const Parting& parting, const History& own,
                       const std::string& reload_because) {
  if (parting.kind == Parting::Kind::kNone)
    return reload_because.empty() ? Status{} : reload(reload_because);
  if (parting.kind == Parting::Kind::kFresh) {
    auto tables = holds_tables();
    if (!tables) return fail(std::move(tables.error()));
    if (*tables)
      return fail(Code::kRefused,
                  "MariaDB at {} was never part of this service but holds tables: a standby is "
                  "loaded from the "
                  "writer, so drop its schemas first if they are not needed",
                  to_string(options_.local));
    return reload("first load");
  }
  if (auto forgot = replication::forget_sources(sql_, soon()); !forgot) return forgot;
  auto lost = extract(parting, own);
  if (!lost) return fail(std::move(lost.error()));
  if (!reload_because.empty()) return reload(reload_because);
  if (lost->obstacle.empty()) {
    Status rewound = rewind(*lost, parting.shared);
    if (rewound || rewound.error().code == Code::kTimeout ||
        rewound.error().code == Code::kUnavailable)
      return rewound;
    lost->obstacle = rewound.error().message;
  }
  return reload(lost->obstacle);
}

// Reads the lost transactions one by one into the ledger. On success all of them are on disk there;
// what undoing needs stays in memory as long as it fits.
Result<Lost> Rejoin::extract(const Parting& parting, const History& own) {
  if (auto entered = enter(FollowPhase::kExtract); !entered)
    return fail(std::move(entered.error()));
  auto context = decoder_context(sql_, soon());
  if (!context) return fail(std::move(context.error()));
  mysql::BinlogDecoder decoder(std::move(*context));
  bool errant = parting.kind == Parting::Kind::kErrant;
  std::string site = options_.site_name(options_.site);
  Lost lost;
  if (errant) lost.obstacle = "something was written here while another site was the writer";
  Ledger::Addition addition(ledger_);
  auto give = [&](LedgerEntry entry) {
    if (parting.unacknowledged) entry.state = LedgerState::kUnacknowledged;
    return addition.give(std::move(entry));
  };
  std::size_t bytes = 0;
  std::uint64_t last = 0;
  auto take = [&](mysql::Transaction& transaction) -> Status {
    last = transaction.gtid.sequence;
    if (errant && transaction.gtid.server != own.server) return {};
    if (++at_.transactions % kTellEvery == 0 && progress_ && !progress_(at_))
      return fail(Code::kTimeout, "follow: stopped");
    if (auto entry = ledger_entry(transaction, site, own.epochs))
      if (auto given = give(std::move(*entry)); !given) return given;
    if (lost.obstacle.empty() && !transaction.obstacle.empty())
      lost.obstacle =
          fmt::format("transaction {}: {}", to_string(transaction.gtid), transaction.obstacle);
    bytes += raw_bytes(transaction);
    if (bytes > kUndoBytesMax && lost.obstacle.empty())
      lost.obstacle = "too much to undo in one transaction";
    if (!lost.obstacle.empty()) {
      lost.transactions.clear();
      return {};
    }
    transaction.changes.clear();
    lost.transactions.push_back(std::move(transaction));
    return {};
  };
  auto read = mysql::read_binlog(local(), parting.shared, kReadStall,
                                 [&](std::string_view event) -> Status {
                                   auto fed = decoder.feed(event);
                                   if (!fed) return fail(std::move(fed.error()));
                                   return *fed ? take(**fed) : Status{};
                                 });
  bool gone = !read && read.error().code == Code::kNotFound;
  if (!read && !gone) return fail(std::move(read.error()));
  if (gone || last != own.position.position().value) {
    // What cannot be listed must at least be named.
    LedgerEntry entry;
    entry.epoch = own.epoch();
    entry.id = fmt::format("{}@{}", to_string(own.position), entry.epoch.value);
    entry.site = site;
    entry.time = SystemClock().now().wall;
    entry.note = fmt::format("transactions after {} up to {} are lost and cannot be listed: {}",
                             to_string(parting.shared), to_string(own.position),
                             gone ? read.error().message : "the binary log ends before");
    lost.obstacle = entry.note;
    lost.transactions.clear();
    if (auto given = give(std::move(entry)); !given) return fail(std::move(given.error()));
  }
  if (auto kept = keep(parting, addition); !kept) return fail(std::move(kept.error()));
  return lost;
}

Status Rejoin::keep(const Parting& parting, Ledger::Addition& addition) {
  if (auto entered = enter(FollowPhase::kLedger); !entered) return entered;
  auto added = addition.finish();
  if (!added) return fail(std::move(added.error()));
  if (parting.unacknowledged) {
    outcome_.unacknowledged = static_cast<std::uint32_t>(*added);
    options_.logger.info("undoing transactions that were never acknowledged to anyone",
                         {{"transactions", at_.transactions}, {"entries", *added}});
    return {};
  }
  outcome_.ledger_entries = static_cast<std::uint32_t>(*added);
  options_.logger.warn("lost transactions kept in the ledger",
                       {{"transactions", at_.transactions}, {"entries", *added}});
  return {};
}

// What the log cannot tell: tables whose rows cannot be changed back one by one.
Result<std::string> Rejoin::obstacle_in_schema(const std::vector<mysql::Transaction>& lost) {
  std::set<std::string> touched, parents;
  for (const mysql::Transaction& transaction : lost)
    for (const mysql::RawRows& rows : transaction.raw) {
      std::string table =
          "(" + sql_.quote(rows.table->schema) + "," + sql_.quote(rows.table->name) + ")";
      touched.insert(table);
      if (rows.kind != mysql::ChangeKind::kInsert) parents.insert(table);
    }
  auto list = [](const std::set<std::string>& tables) {
    std::string text;
    for (const std::string& table : tables) text += (text.empty() ? "" : ",") + table;
    return text;
  };
  if (touched.empty()) return std::string();
  auto engines = sql_.query(
      "SELECT CONCAT('table ', table_schema, '.', table_name, ' has no transactions (', engine, "
      "')') FROM "
      "information_schema.tables WHERE engine <> 'InnoDB' AND (table_schema, table_name) IN (" +
          list(touched) + ") LIMIT 1",
      soon());
  if (!engines) return fail(std::move(engines.error()));
  if (!engines->scalar().empty() || parents.empty()) return engines->scalar();
  // InnoDB carries out cascades by itself, unlogged: undoing the parent would leave the children
  // changed.
  auto cascades = sql_.query(
      "SELECT CONCAT('foreign key ', constraint_name, ' cascades from ', unique_constraint_schema, "
      "'.', "
      "referenced_table_name, ', which the binary log does not show') FROM "
      "information_schema.referential_constraints WHERE (delete_rule IN ('CASCADE', 'SET NULL') OR "
      "update_rule "
      "IN ('CASCADE', 'SET NULL')) AND (unique_constraint_schema, referenced_table_name) IN (" +
          list(parents) + ") LIMIT 1",
      soon());
  if (!cascades) return fail(std::move(cascades.error()));
  return cascades->scalar();
}

Status Rejoin::rewind(const Lost& lost, const mysql::GtidPosition& shared) {
  auto obstacle = obstacle_in_schema(lost.transactions);
  if (!obstacle) return fail(std::move(obstacle.error()));
  if (!obstacle->empty()) return fail(Code::kRefused, "{}", *obstacle);
  auto packet = sql_.query("SELECT @@max_allowed_packet", soon());
  if (!packet) return fail(std::move(packet.error()));
  std::size_t room = std::strtoull(packet->scalar().c_str(), nullptr, 10);
  auto statements = undo_statements(lost.transactions, room - std::min<std::size_t>(room, 1024));
  if (!statements) return fail(std::move(statements.error()));

  if (auto entered = enter(FollowPhase::kRewind); !entered) return entered;
  Status undone = undo(*statements, shared);
  (void)sql_.execute("ROLLBACK", soon());  // no effect after the commit
  (void)sql_.execute("SET SESSION sql_log_bin = 1, foreign_key_checks = 1", soon());
  if (!undone) return undone;
  if (auto entered = enter(FollowPhase::kReset); !entered) return entered;
  outcome_.kind = FollowOutcome::Kind::kRewound;
  return reset_to(to_string(shared));
}

Status Rejoin::undo(const std::vector<std::string>& statements, const mysql::GtidPosition& shared) {
  BootTime deadline = BootClock::now() + kUndoTimeout;
  for (const char* prepare : {"SET SESSION sql_log_bin = 0", "START TRANSACTION"})
    if (auto done = sql_.execute(prepare, deadline); !done) return done;
  for (const std::string& statement : statements)
    if (auto done = sql_.execute(statement, deadline); !done) return done;
  auto marked = sql_.execute(
      "INSERT INTO leeward.rejoin VALUES (1, " + sql_.quote(to_string(shared)) + ")", deadline);
  if (!marked) return marked;
  return sql_.execute("COMMIT", deadline);
}

// The second half of a rewind; repeatable as long as the row in leeward.rejoin is there.
Status Rejoin::reset_to(const std::string& shared) {
  if (auto forgot = replication::forget_sources(sql_, soon()); !forgot) return forgot;
  const std::string statements[] = {
      "RESET MASTER",
      "SET GLOBAL gtid_slave_pos = " + sql_.quote(shared),
      "SET STATEMENT sql_log_bin = 0 FOR DELETE FROM leeward.rejoin",
  };
  for (const std::string& statement : statements)
    if (auto done = sql_.execute(statement, soon()); !done) return done;
  return {};
}

Status Rejoin::finish_interrupted_rewind() {
  auto rows = sql_.query("SELECT shared_gtid FROM leeward.rejoin", soon());
  if (!rows) {
    bool fresh = sql_.last_error() == ER_NO_SUCH_TABLE || sql_.last_error() == ER_BAD_DB_ERROR;
    if (fresh) return {};
    return fail(std::move(rows.error()));
  }
  if (rows->rows.empty()) return {};
  if (auto entered = enter(FollowPhase::kReset); !entered) return entered;
  outcome_.kind = FollowOutcome::Kind::kRewound;
  return reset_to(rows->scalar());
}

Status Rejoin::connect() {
  auto link = replication::read_native_link(sql_, soon());
  if (!link) return fail(std::move(link.error()));
  // A restarted node has lost the mark, and with it the right to take over, until it is connected
  // anew.
  bool right =
      link->configured && link->source == source_ && !link->denied && (!near_ || link->kept);
  if (right && outcome_.kind == FollowOutcome::Kind::kStreaming &&
      link->state != ReplicationState::kBroken && link->state != ReplicationState::kNone)
    return {};
  if (auto entered = enter(FollowPhase::kConnect); !entered) return entered;
  outcome_.connected = true;
  // Where to go on: after a rewind or a reload gtid_slave_pos says it, and the own log is empty. A
  // former writer that lost nothing has it in its own log, and the log may be ahead of
  // gtid_slave_pos.
  auto position = replication::read_own_position(sql_, soon());
  if (!position) return fail(std::move(position.error()));
  return replication::connect_native(
      sql_, {source_, options_.replication_user, options_.replication_password},
      near_ ? between_nodes(options_.replication) : options_.replication, *position, soon());
}

}  // namespace leeward::database::internal
