#include "database/ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/file.h"
#include "mysql/gtid.h"

namespace leeward::database {
namespace {

using nlohmann::json;

constexpr std::string_view kSuffix = ".json";
constexpr std::size_t kFileBytesMax = 1u << 30;
// Of an Addition, between two syncs of the disk.
constexpr std::size_t kWaitingMax = 1000;
constexpr std::size_t kWaitingBytesMax = 8u << 20;
constexpr LedgerState kStates[] = {LedgerState::kOpen, LedgerState::kReplayed,
                                   LedgerState::kDiscarded, LedgerState::kUnacknowledged};
constexpr LedgerOperation kOperations[] = {LedgerOperation::kInsert, LedgerOperation::kUpdate,
                                           LedgerOperation::kDelete, LedgerOperation::kDdl};

json row_json(const LedgerRow& row) {
  json object = json::object();
  for (const auto& [column, value] : row) object[column] = value ? json(*value) : json();
  return object;
}

json row_json(const std::optional<LedgerRow>& row) { return row ? row_json(*row) : json(); }

json change_json(const LedgerChange& change) {
  json object{{"table", change.schema + "." + change.table},
              {"operation", name(change.operation)},
              {"key", row_json(change.key)},
              {"before", row_json(change.before)},
              {"after", row_json(change.after)},
              {"changed_since", change.changed_since ? json(*change.changed_since) : json()}};
  // The dot alone would not tell `a.b`.`c` from `a`.`b.c`.
  if (change.schema.find('.') != std::string::npos) object["schema"] = change.schema;
  if (!change.sql.empty()) object["sql"] = change.sql;
  return object;
}

std::string text_of(const json& object, const char* key) {
  auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<LedgerRow> parse_row(const json& object, const char* key) {
  auto found = object.find(key);
  if (found == object.end() || !found->is_object()) return std::nullopt;
  LedgerRow row;
  for (const auto& [column, value] : found->items())
    row[column] = value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
  return row;
}

std::optional<LedgerChange> parse_change(const json& object) {
  if (!object.is_object()) return std::nullopt;
  LedgerChange change;
  std::string table = text_of(object, "table");
  change.schema = text_of(object, "schema");
  std::size_t dot = change.schema.empty() ? table.find('.') : change.schema.size();
  if (dot == std::string::npos || dot >= table.size()) return std::nullopt;
  change.schema = table.substr(0, dot);
  change.table = table.substr(dot + 1);
  std::string operation = text_of(object, "operation");
  auto known = std::find_if(std::begin(kOperations), std::end(kOperations),
                            [&](LedgerOperation o) { return name(o) == operation; });
  if (known == std::end(kOperations)) return std::nullopt;
  change.operation = *known;
  change.key = parse_row(object, "key").value_or(LedgerRow{});
  change.before = parse_row(object, "before");
  change.after = parse_row(object, "after");
  change.sql = text_of(object, "sql");
  auto since = object.find("changed_since");
  if (since != object.end() && since->is_boolean()) change.changed_since = since->get<bool>();
  return change;
}

std::optional<WallTime> parse_time(const std::string& text) {
  std::tm utc{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &utc);
  if (!end) return std::nullopt;
  return WallTime(std::chrono::seconds(::timegm(&utc)));
}

LedgerSummary summary(const LedgerEntry& entry) { return {entry.id, entry.epoch, entry.state}; }

// Epoch, sequence and the rest: the order in which the transactions were committed.
std::tuple<std::uint64_t, std::uint64_t, std::string_view> order(const LedgerSummary& entry) {
  std::string_view gtid = std::string_view(entry.id).substr(0, entry.id.find('@'));
  auto parsed = mysql::parse_gtids(gtid);
  std::uint64_t sequence = parsed && !parsed->empty() ? parsed->front().sequence : 0;
  return {entry.epoch.value, sequence, entry.id};
}

Status write_quickly(const std::string& path, std::string_view bytes) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid()) return fail(os_error(errno, "create " + path));
  while (!bytes.empty()) {
    ssize_t written = ::write(fd.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(os_error(errno, "write " + path));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

std::string_view name(LedgerState state) {
  switch (state) {
    case LedgerState::kOpen:
      return "open";
    case LedgerState::kReplayed:
      return "replayed";
    case LedgerState::kDiscarded:
      return "discarded";
    case LedgerState::kUnacknowledged:
      return "unacknowledged";
  }
  return "open";
}

std::string_view name(LedgerOperation operation) {
  switch (operation) {
    case LedgerOperation::kInsert:
      return "insert";
    case LedgerOperation::kUpdate:
      return "update";
    case LedgerOperation::kDelete:
      return "delete";
    case LedgerOperation::kDdl:
      return "ddl";
  }
  return "ddl";
}

std::string to_json(const LedgerEntry& entry) {
  json changes = json::array();
  for (const LedgerChange& change : entry.changes) changes.push_back(change_json(change));
  json object{{"id", entry.id},
              {"site", entry.site},
              {"epoch", entry.epoch.value},
              {"time", format_wall(entry.time)},
              {"state", name(entry.state)},
              {"changes", std::move(changes)}};
  if (!entry.note.empty()) object["note"] = entry.note;
  // Statements may carry bytes of any character set; a replaced character is better than no entry.
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<LedgerEntry> parse_ledger_entry(std::string_view text) {
  json object = json::parse(text, nullptr, false);
  if (!object.is_object()) return fail(Code::kCorrupt, "not a JSON object");
  LedgerEntry entry;
  entry.id = text_of(object, "id");
  entry.site = text_of(object, "site");
  entry.note = text_of(object, "note");
  auto epoch = object.find("epoch");
  auto changes = object.find("changes");
  auto time = parse_time(text_of(object, "time"));
  std::string state = text_of(object, "state");
  auto known = std::find_if(std::begin(kStates), std::end(kStates),
                            [&](LedgerState s) { return name(s) == state; });
  if (entry.id.empty() || epoch == object.end() || !epoch->is_number_unsigned() || !time ||
      known == std::end(kStates) || changes == object.end() || !changes->is_array())
    return fail(Code::kCorrupt, "not a ledger entry");
  entry.epoch.value = epoch->get<std::uint64_t>();
  entry.time = *time;
  entry.state = *known;
  for (const json& item : *changes) {
    auto change = parse_change(item);
    if (!change) return fail(Code::kCorrupt, "entry {} has a malformed change", entry.id);
    entry.changes.push_back(std::move(*change));
  }
  return entry;
}

Result<Ledger> Ledger::open(std::string directory) {
  if (auto made = make_directories(directory); !made) return fail(std::move(made.error()));
  Ledger ledger(std::move(directory));
  std::error_code error;
  for (std::filesystem::directory_iterator file(ledger.directory_, error), end;
       !error && file != end; file.increment(error)) {
    std::string path = file->path().string();
    if (!path.ends_with(kSuffix)) continue;  // a temporary file of an interrupted write
    auto text = read_file(path, kFileBytesMax);
    if (!text) return fail(std::move(text.error()));
    auto entry = parse_ledger_entry(*text);
    if (!entry) return fail(std::move(entry.error()).wrap("ledger file " + path));
    ledger.entries_.push_back(summary(*entry));
  }
  if (error) return fail(Code::kIo, "ledger {}: {}", ledger.directory_, error.message());
  ledger.sort();
  return ledger;
}

void Ledger::sort() {
  std::sort(entries_.begin(), entries_.end(),
            [](const LedgerSummary& a, const LedgerSummary& b) { return order(a) < order(b); });
}

std::string Ledger::path_of(std::string_view id) const {
  return fmt::format("{}/{}{}", directory_, id, kSuffix);
}

Ledger::Addition::Addition(Ledger& ledger, std::size_t entries_max)
    : ledger_(ledger), entries_max_(entries_max) {
  known_.reserve(ledger.entries_.size());
  for (const LedgerSummary& entry : ledger.entries_) known_.insert(entry.id);
}

Status Ledger::Addition::give(LedgerEntry entry) {
  bool after_known = std::exchange(last_known_, !known_.insert(entry.id).second);
  if (last_known_) return {};
  if (ledger_.entries_.size() + waiting_.size() >= entries_max_) {
    if (left_out_ == 0) told_ = after_known && ledger_.entries_.size() > entries_max_;
    ++left_out_;
    last_left_out_ = entry.id;
    if (!first_left_out_ && !told_) {
      entry.changes.clear();
      first_left_out_ = std::move(entry);
    }
    return {};
  }
  std::string text = to_json(entry);
  waiting_bytes_ += text.size();
  waiting_.emplace_back(summary(entry), std::move(text));
  bool full = waiting_.size() >= kWaitingMax || waiting_bytes_ >= kWaitingBytesMax;
  return full ? flush() : Status{};
}

// One sync for all that waits: first the bytes, then the names.
Status Ledger::Addition::flush() {
  if (waiting_.empty()) return {};
  const std::string& path = ledger_.directory_;
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return fail(os_error(errno, "open " + path));
  for (const auto& [entry, text] : waiting_)
    if (auto written = write_quickly(ledger_.path_of(entry.id) + ".new", text); !written)
      return written;
  if (::syncfs(directory.get()) != 0) return fail(os_error(errno, "sync " + path));
  for (const auto& [entry, text] : waiting_) {
    std::string name = ledger_.path_of(entry.id);
    if (std::rename((name + ".new").c_str(), name.c_str()) != 0)
      return fail(os_error(errno, "rename " + name));
  }
  if (::fsync(directory.get()) != 0) return fail(os_error(errno, "sync " + path));
  added_ += waiting_.size();
  for (auto& [entry, text] : waiting_) ledger_.entries_.push_back(std::move(entry));
  waiting_.clear();
  waiting_bytes_ = 0;
  return {};
}

Result<std::size_t> Ledger::Addition::finish() {
  if (first_left_out_) {
    LedgerEntry& rest = *first_left_out_;
    rest.note = fmt::format(
        "the ledger holds {} entries, its bound; {} transactions from {} to {} are not listed",
        entries_max_, left_out_, rest.id, last_left_out_);
    waiting_.emplace_back(summary(rest), to_json(rest));
    first_left_out_.reset();
  }
  if (auto flushed = flush(); !flushed) return fail(std::move(flushed.error()));
  ledger_.sort();
  return added_;
}

Result<std::size_t> Ledger::add(const std::vector<LedgerEntry>& entries) {
  Addition addition(*this);
  for (const LedgerEntry& entry : entries)
    if (auto given = addition.give(entry); !given) return fail(std::move(given.error()));
  return addition.finish();
}

const LedgerSummary* Ledger::find(std::string_view id) const {
  auto found = std::find_if(entries_.begin(), entries_.end(),
                            [&](const LedgerSummary& entry) { return entry.id == id; });
  return found == entries_.end() ? nullptr : &*found;
}

Result<LedgerEntry> Ledger::show(std::string_view id) const {
  if (!find(id)) return fail(Code::kNotFound, "the ledger has no entry {}", id);
  auto text = read_file(path_of(id), kFileBytesMax);
  if (!text) return fail(std::move(text.error()));
  auto entry = parse_ledger_entry(*text);
  if (!entry) return fail(std::move(entry.error()).wrap("ledger file " + path_of(id)));
  return entry;
}

Status Ledger::mark(std::string_view id, LedgerState state) {
  auto entry = show(id);
  if (!entry) return fail(std::move(entry.error()));
  entry->state = state;
  if (auto written = write_file_durably(path_of(id), to_json(*entry)); !written) return written;
  entries_[static_cast<std::size_t>(find(id) - entries_.data())].state = state;
  return {};
}

std::size_t Ledger::open_count() const {
  return static_cast<std::size_t>(
      std::count_if(entries_.begin(), entries_.end(),
                    [](const LedgerSummary& entry) { return entry.state == LedgerState::kOpen; }));
}

}  // namespace leeward::database
