#include "replication/internal/seed_journal.h"

#include <fmt/ranges.h>

#include <charconv>

namespace leeward::replication::internal {
namespace {

constexpr char kTables[] =
    "CREATE TABLE IF NOT EXISTS leeward.seed_tables (task VARCHAR(64) NOT NULL, "
    "source_schema VARCHAR(64) NOT NULL, source_table VARCHAR(64) NOT NULL, "
    "stage TINYINT UNSIGNED NOT NULL, integer_key BOOLEAN NOT NULL, cascades BOOLEAN NOT NULL, "
    "deferred LONGTEXT NOT NULL, "
    "PRIMARY KEY (task, source_schema, source_table)) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 "
    "COLLATE utf8mb4_bin";
constexpr char kChunks[] =
    "CREATE TABLE IF NOT EXISTS leeward.seed_chunks (task VARCHAR(64) NOT NULL, "
    "source_schema VARCHAR(64) NOT NULL, source_table VARCHAR(64) NOT NULL, "
    "chunk INT UNSIGNED NOT NULL, lower_key LONGTEXT NOT NULL, upper_key LONGTEXT NOT NULL, "
    "gtid TEXT NOT NULL, row_count BIGINT UNSIGNED NOT NULL, byte_count BIGINT UNSIGNED NOT NULL, "
    "PRIMARY KEY (task, source_schema, source_table, chunk)) ENGINE=InnoDB DEFAULT CHARACTER SET "
    "utf8mb4 COLLATE utf8mb4_bin";

constexpr unsigned kNoSuchDatabase = 1049;
constexpr unsigned kNoSuchTable = 1146;

// Keys may be any bytes: "3130,FF00" are two values; empty text is no bound.
std::string to_text(const std::vector<std::string>& key) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (std::size_t i = 0; i < key.size(); ++i) {
    out += i > 0 ? "," : ":";
    for (unsigned char c : key[i]) {
      out += kDigits[c >> 4];
      out += kDigits[c & 15];
    }
  }
  return out;
}

std::vector<std::string> from_text(std::string_view text) {
  std::vector<std::string> key;
  auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'A' + 10; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ':' || text[i] == ',')
      key.emplace_back();
    else if (!key.empty() && i + 1 < text.size()) {
      key.back() += static_cast<char>(digit(text[i]) * 16 + digit(text[i + 1]));
      ++i;
    }
  }
  return key;
}

std::uint64_t number(const std::string& digits) {
  std::uint64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

}  // namespace

Status SeedJournal::create(BootTime deadline) {
  for (const char* sql : {"CREATE DATABASE IF NOT EXISTS leeward", kTables, kChunks})
    if (auto done = sql_.execute(sql, deadline); !done)
      return fail(std::move(done.error()).wrap("making the journal of the seed"));
  return {};
}

Result<Journal> SeedJournal::read(BootTime deadline) {
  Journal journal;
  auto tables = sql_.query(
      fmt::format("SELECT source_schema, source_table, stage, integer_key, deferred, cascades FROM "
                  "leeward.seed_tables WHERE task={}",
                  sql_.quote(task_)),
      deadline);
  if (!tables) {
    if (sql_.last_error() == kNoSuchDatabase || sql_.last_error() == kNoSuchTable) return journal;
    return fail(std::move(tables.error()));
  }
  for (const auto& row : tables->rows) {
    TableRecord& record = journal[{row[0].value_or(""), row[1].value_or("")}];
    record.stage = static_cast<SeedStage>(number(row[2].value_or("")));
    record.integer_key = row[3] == "1";
    for (char c : row[4].value_or("")) {
      if (record.deferred.empty()) record.deferred.emplace_back();
      if (c == '\n')
        record.deferred.emplace_back();
      else
        record.deferred.back() += c;
    }
    record.cascades = row[5] == "1";
  }
  auto chunks = sql_.query(
      fmt::format("SELECT source_schema, source_table, chunk, lower_key, upper_key, gtid, "
                  "row_count, byte_count FROM leeward.seed_chunks WHERE task={} ORDER BY chunk",
                  sql_.quote(task_)),
      deadline);
  if (!chunks) return fail(std::move(chunks.error()));
  for (const auto& row : chunks->rows) {
    ChunkRecord chunk;
    chunk.number = static_cast<std::uint32_t>(number(row[2].value_or("")));
    chunk.range = {from_text(row[3].value_or("")), from_text(row[4].value_or(""))};
    auto at = mysql::parse_gtid_position(row[5].value_or(""));
    if (!at) return fail(std::move(at.error()).wrap("leeward.seed_chunks"));
    chunk.at = *at;
    chunk.copied = {number(row[6].value_or("")), number(row[7].value_or(""))};
    journal[{row[0].value_or(""), row[1].value_or("")}].chunks.push_back(std::move(chunk));
  }
  return journal;
}

std::string SeedJournal::where(const CarriedTable& table) const {
  return fmt::format("task={} AND source_schema={} AND source_table={}", sql_.quote(task_),
                     sql_.quote(table.schema), sql_.quote(table.name));
}

Status SeedJournal::begin_table(const CarriedTable& table, const std::vector<std::string>& deferred,
                                BootTime deadline) {
  return sql_.execute(
      fmt::format("REPLACE INTO leeward.seed_tables VALUES ({},{},{},0,{},{},{})",
                  sql_.quote(task_), sql_.quote(table.schema), sql_.quote(table.name),
                  table.integer_key() ? 1 : 0, table.tied.empty() ? 0 : 1,
                  sql_.quote(fmt::format("{}", fmt::join(deferred, "\n")))),
      deadline);
}

Status SeedJournal::set_stage(const CarriedTable& table, SeedStage stage, BootTime deadline) {
  return sql_.execute(fmt::format("UPDATE leeward.seed_tables SET stage={} WHERE {}",
                                  static_cast<int>(stage), where(table)),
                      deadline);
}

Status SeedJournal::add_chunk(const CarriedTable& table, const ChunkRecord& chunk,
                              BootTime deadline) {
  return sql_.execute(
      fmt::format("INSERT INTO leeward.seed_chunks VALUES ({},{},{},{},{},{},{},{},{})",
                  sql_.quote(task_), sql_.quote(table.schema), sql_.quote(table.name), chunk.number,
                  sql_.quote(to_text(chunk.range.lower)), sql_.quote(to_text(chunk.range.upper)),
                  sql_.quote(to_string(chunk.at)), chunk.copied.rows, chunk.copied.bytes),
      deadline);
}

Status SeedJournal::forget_chunks(const CarriedTable& table, BootTime deadline) {
  return sql_.execute("DELETE FROM leeward.seed_chunks WHERE " + where(table), deadline);
}

std::vector<Gap> gaps(const std::vector<ChunkRecord>& chunks) {
  std::vector<Gap> found;
  std::uint32_t next = 0;
  std::vector<std::string> lower;
  for (const ChunkRecord& chunk : chunks) {
    if (chunk.number != next) found.push_back({next, {lower, chunk.range.lower}});
    next = chunk.number + 1;
    lower = chunk.range.upper;
  }
  // The last chunk of a table has no upper bound.
  if (chunks.empty() || !lower.empty()) found.push_back({next, {lower, {}}});
  return found;
}

}  // namespace leeward::replication::internal
