#include "replication/task.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "config/setting.h"
#include "replication/internal/dms_mapping.h"

namespace leeward::replication {
namespace {

using config::Bounds;
using config::Place;
using config::Reader;
using config::Setting;
using config::Table;
using config::TextRule;

// What is being read: the task, and what has to be looked at once all of it is known.
struct Draft {
  Task task;
  std::string dms_file;
};

bool valid_host(std::string_view text) {
  return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
}

bool valid_parts(std::string_view text, std::size_t parts) {
  std::size_t count = 1;
  bool empty = true;
  for (char c : text) {
    if (c == '\0') return false;
    if (c != '.') {
      empty = false;
      continue;
    }
    if (empty) return false;
    ++count;
    empty = true;
  }
  return !empty && count == parts && text.size() <= 64 * 3 * parts;
}
bool valid_table(std::string_view text) { return valid_parts(text, 2); }
bool valid_column(std::string_view text) { return valid_parts(text, 3); }
bool valid_identifier(std::string_view text) {
  return !text.empty() && text.size() <= 192 && text.find('\0') == std::string_view::npos;
}
bool valid_new_table(std::string_view text) { return valid_parts(text, 1) || valid_parts(text, 2); }

const TextRule kServerRule{"host name or IPv4 address", "write for example db1.example.test",
                           "^[A-Za-z0-9._-]{1,253}$", valid_host};
const TextRule kTableRule{"pattern of tables",
                          "write SCHEMA.TABLE; * stands for any text and ? for one character",
                          "^[^.]+\\.[^.]+$", valid_table};
const TextRule kColumnRule{
    "pattern of columns",
    "write SCHEMA.TABLE.COLUMN; * stands for any text and ? for one character",
    "^[^.]+\\.[^.]+\\.[^.]+$", valid_column};
const TextRule kIdentifierRule{"name", "write the name as the server shows it", "^.{1,64}$",
                               valid_identifier};
const TextRule kNewTableRule{"new name of a table", "write TABLE or SCHEMA.TABLE",
                             "^[^.]+(\\.[^.]+)?$", valid_new_table};

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

// `*` of the task file is `%` of the mapping.
std::string pattern(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '%' || c == '\\') out += '\\';
    out += c == '*' ? '%' : c;
  }
  return out;
}

TableRule table_rule(std::string_view text) {
  auto parts = split(text);
  return {pattern(parts[0]), pattern(parts[1])};
}

// A key of a mapping that must follow `rule`; reports it otherwise.
bool valid_key(Reader& r, const Place& entry, const TextRule& rule) {
  if (rule.valid(entry.name)) return true;
  r.problem(
      entry.key, entry.path,
      fmt::format("{} is not a valid {}; {}", config::quoted(entry.name), rule.type, rule.advice));
  return false;
}

template <typename E>
using Choices = std::vector<std::pair<std::string, E>>;

using ReadEntry = std::function<void(Reader&, const Place&, Draft&)>;

// A section whose keys the user chooses.
void add_map(Table<Draft>& t, std::string name, std::string key, std::string sentence,
             const TextRule& key_rule, ReadEntry read) {
  Setting s = Table<Draft>::setting(Setting::Kind::kTextMap, std::move(name), std::move(sentence));
  s.key = std::move(key);
  t.add(s, [read = std::move(read), &key_rule](Reader& r, const Place& p, Draft& d) {
    auto entries = r.mapping(p);
    if (!entries) return;
    for (const Place& entry : *entries)
      if (valid_key(r, entry, key_rule)) read(r, entry, d);
  });
}

void add_list(Table<Draft>& t, std::string name, std::string sentence, const TextRule& rule,
              std::function<void(const std::string&, Draft&)> take) {
  Setting s = Table<Draft>::setting(Setting::Kind::kTexts, std::move(name), std::move(sentence));
  s.rule = &rule;
  t.add(s, [take = std::move(take), &rule](Reader& r, const Place& p, Draft& d) {
    auto items = r.sequence(p);
    if (!items) return;
    for (const Place& item : *items)
      if (auto text = r.text(item, rule)) take(*text, d);
  });
}

Table<TaskEnd> end_table() {
  using mysql::TlsMode;
  Table<TaskEnd> t;
  t.text("host", &TaskEnd::host, kServerRule, "Host name or IPv4 address of the server.")
      .required();
  t.port("port", &TaskEnd::port, "Its port.");
  t.text("user", &TaskEnd::user, kIdentifierRule,
         "Account of Leeward there; `leeward replication precheck` prints the GRANT it needs.")
      .required();
  t.secret("password", &TaskEnd::password, "Its password, as file:PATH or env:NAME.").required();
  t.choice(
      "tls", [](TaskEnd & e) -> auto& { return e.tls.mode; },
      Choices<TlsMode>{{"off", TlsMode::kOff},
                       {"required", TlsMode::kRequired},
                       {"verify", TlsMode::kVerifyIdentity}},
      "off; required: encrypted, whoever answers is believed; verify: the certificate must lead to "
      "tls_authority and name the host.");
  t.text(
      "tls_authority", [](TaskEnd & e) -> auto& { return e.tls.authority_file; }, config::kAnyText,
      "File (PEM) with the authority to verify with.");
  t.text(
      "tls_certificate", [](TaskEnd & e) -> auto& { return e.tls.certificate_file; },
      config::kAnyText, "File (PEM) with our own certificate, for a server that asks for one.");
  t.text(
      "tls_key", [](TaskEnd & e) -> auto& { return e.tls.key_file; }, config::kAnyText,
      "File (PEM) with its key.");
  return t;
}

Table<Draft> tables_table() {
  Table<Draft> t;
  add_list(t, "include", "Tables to carry; without it, all that the server does not need itself.",
           kTableRule, [](const std::string& text, Draft& d) {
             d.task.mapping.include.push_back(table_rule(text));
           });
  add_list(t, "exclude", "Tables not to carry, whatever include says.", kTableRule,
           [](const std::string& text, Draft& d) {
             d.task.mapping.exclude.push_back(table_rule(text));
           });
  return t;
}

void rename(Draft& d, NameOf of, TableRule match, std::string column, std::string value) {
  d.task.mapping.renames.push_back({of,
                                    std::move(match),
                                    std::move(column),
                                    {NameChange::Action::kRename, std::move(value), ""}});
}

Table<Draft> rename_table() {
  Table<Draft> t;
  add_map(t, "schemas", "SCHEMA", "Schema to its name at the target.", kIdentifierRule,
          [](Reader& r, const Place& p, Draft& d) {
            if (auto to = r.text(p, kIdentifierRule))
              rename(d, NameOf::kSchema, {literal_pattern(p.name), "%"}, "%", *to);
          });
  add_map(t, "tables", "SCHEMA.TABLE",
          "Table to its name at the target: `TABLE`, or `SCHEMA.TABLE` to move it.", kTableRule,
          [](Reader& r, const Place& p, Draft& d) {
            auto to = r.text(p, kNewTableRule);
            if (!to) return;
            auto from = split(p.name), parts = split(*to);
            TableRule match{literal_pattern(from[0]), literal_pattern(from[1])};
            if (parts.size() == 2) rename(d, NameOf::kSchema, match, "%", parts[0]);
            rename(d, NameOf::kTable, match, "%", parts.back());
          });
  add_map(t, "columns", "SCHEMA.TABLE.COLUMN", "Column to its name at the target.", kColumnRule,
          [](Reader& r, const Place& p, Draft& d) {
            auto to = r.text(p, kIdentifierRule);
            if (!to) return;
            auto from = split(p.name);
            rename(d, NameOf::kColumn, {pattern(from[0]), pattern(from[1])},
                   literal_pattern(from[2]), *to);
          });
  return t;
}

Table<Draft> columns_table() {
  Table<Draft> t;
  auto take = [](bool drop) {
    return [drop](const std::string& text, Draft& d) {
      auto parts = split(text);
      d.task.mapping.columns.push_back(
          {{pattern(parts[0]), pattern(parts[1])}, pattern(parts[2]), drop});
    };
  };
  add_list(t, "exclude", "Columns that are not carried; never one of a primary key.", kColumnRule,
           take(true));
  add_list(t, "only", "Of a table named here, only these columns are carried.", kColumnRule,
           take(false));
  return t;
}

void read_filter(Reader& r, const Place& p, Draft& d) {
  auto text = r.text(p, config::kAnyText);
  if (!text) return;
  auto filter = parse_filter(*text);
  if (!filter) {
    r.problem(p.at(), p.path,
              fmt::format("{}: {} (at character {} of the filter)", p.name, filter.error().message,
                          filter.error().offset + 1));
    return;
  }
  d.task.mapping.filters.push_back({table_rule(p.name), *filter});
}

Table<Draft> seed_table() {
  Table<Draft> t;
  t.integer(
      "parallel", [](Draft & d) -> auto& { return d.task.seed.parallel; }, {1, 32},
      "Chunks that are copied at once.");
  t.integer(
      "chunk_rows", [](Draft & d) -> auto& { return d.task.seed.chunk_rows; }, {100, 100'000'000},
      "Rows of one chunk: one snapshot at the source, one transaction at the target, and what is "
      "copied again after an interruption.");
  t.boolean(
      "objects", [](Draft & d) -> auto& { return d.task.seed.objects; },
      "Copy views, routines and events as well; events stay disabled at the target. Triggers are "
      "never copied: what they did comes with the rows.");
  return t;
}

Table<Draft> apply_table() {
  Table<Draft> t;
  t.integer(
      "workers", [](Draft & d) -> auto& { return d.task.apply.workers; }, {1, 64},
      "Connections that apply changes at the target.");
  t.integer(
      "group", [](Draft & d) -> auto& { return d.task.apply.group; }, {1, 10'000},
      "Transactions of the source that become one at the target, at most.");
  return t;
}

Table<Draft> throttle_table() {
  Table<Draft> t;
  t.integer(
      "source_threads_running",
      [](Draft & d) -> auto& { return d.task.throttle.source_threads_running; }, {0, 100'000},
      "The seed waits while the source has more running threads than this; 0: no limit.");
  t.add(
      [] {
        Setting s = Table<Draft>::setting(Setting::Kind::kInteger, "megabytes_a_second",
                                          "Most that the seed reads; 0: no limit.");
        s.minimum = 0;
        s.maximum = 100'000;
        s.bounds = "0 … 100000";
        return s;
      }(),
      [](Reader& r, const Place& p, Draft& d) {
        if (auto v = r.integer(p, {0, 100'000}))
          d.task.throttle.megabytes_a_second = static_cast<double>(*v);
      });
  return t;
}

Table<Draft> conflicts_table() {
  Table<Draft> t;
  t.boolean(
      "bidirectional", [](Draft & d) -> auto& { return d.task.conflicts.bidirectional; },
      "A task in the other direction runs as well: rows are compared with their before-images, and "
      "changes that this task brought do not go back.");
  t.choice(
      "policy", [](Draft & d) -> auto& { return d.task.conflicts.policy; },
      Choices<ConflictPolicy>{{"stop", ConflictPolicy::kStop},
                              {"site_priority", ConflictPolicy::kSitePriority},
                              {"last_writer", ConflictPolicy::kLastWriter}},
      "What becomes of a row that both sides changed: stop and ask; site_priority: the row of "
      "`winner` stays; last_writer: the row with the greater last_writer_column.");
  t.choice(
      "winner", [](Draft & d) -> auto& { return d.task.conflicts.source_wins; },
      Choices<bool>{{"source", true}, {"target", false}},
      "Whose row stays under site_priority, or when equal.");
  t.text(
      "last_writer_column", [](Draft & d) -> auto& { return d.task.conflicts.last_writer_column; },
      kIdentifierRule, "Column with the time of the last change, in every table of the task.");
  t.texts(
      "delta_columns", [](Draft & d) -> auto& { return d.task.conflicts.delta_columns; },
      kColumnRule, "Counters: the difference is added, so that both sides' changes count.");
  return t;
}

Table<Draft> verify_table() {
  Table<Draft> t;
  t.add(
      [] {
        Setting s = Table<Draft>::setting(
            Setting::Kind::kInteger, "rows_a_second",
            "Rate of the continuous comparison; 0: only when `leeward replication verify` asks.");
        s.minimum = 0;
        s.maximum = 10'000'000;
        s.bounds = "0 … 10000000";
        return s;
      }(),
      [](Reader& r, const Place& p, Draft& d) {
        if (auto v = r.integer(p, {0, 10'000'000}))
          d.task.verify.rows_a_second = static_cast<double>(*v);
      });
  t.integer(
      "chunk_rows", [](Draft & d) -> auto& { return d.task.verify.chunk_rows; }, {100, 1'000'000},
      "Rows that are compared by one checksum.");
  return t;
}

Table<Draft> task_table() {
  Table<Draft> t;
  t.text(
       "task", [](Draft & d) -> auto& { return d.task.name; }, config::kNameRule,
       "Name of the task; a target keeps the progress of each task under its name.")
      .required();
  t.section(
       "source", [](Draft & d) -> auto& { return d.task.source; }, end_table(),
       "The server that changes come from.")
      .required();
  t.section(
       "target", [](Draft & d) -> auto& { return d.task.target; }, end_table(),
       "The server that they go to.")
      .required();
  t.integer(
      "server_id", [](Draft & d) -> auto& { return d.task.server_id; }, {1, 4294967295},
      "Under which Leeward is a replica of the source, different from every server there; without "
      "it, one is made of the task's name.");
  auto itself = [](Draft & d) -> auto& { return d; };
  t.section("tables", itself, tables_table(),
            "Which tables. `*` stands for any text, `?` for one character.");
  t.section("rename", itself, rename_table(), "What they are called at the target.");
  t.section("columns", itself, columns_table(), "Which of their columns.");
  add_map(t, "rows", "SCHEMA.TABLE",
          "Which of their rows: a condition a table, such as `region = 'eu' and total >= 100`.",
          kTableRule, read_filter);
  t.text("table_mappings", &Draft::dms_file, config::kAnyText,
         "JSON file with a table mapping of AWS DMS, instead of tables, rename, columns and rows.");
  t.section("seed", itself, seed_table(), "The first copy.");
  t.section("apply", itself, apply_table(), "How changes are applied.");
  t.section("throttle", itself, throttle_table(), "What must not be overloaded.");
  t.section("conflicts", itself, conflicts_table(), "When both sides write.");
  t.section("verify", itself, verify_table(), "Comparing the two ends.");
  t.duration(
      "heartbeat", [](Draft & d) -> auto& { return d.task.heartbeat; }, {50ms, 60s},
      "How often the row is written at the source by which lag is measured.");
  t.text(
      "state_dir", [](Draft & d) -> auto& { return d.task.state_dir; }, config::kAnyText,
      "Directory for the relay log, the control token and whether the task is paused; without it, "
      "state/TASK beside this file.");
  t.integer(
      "control_port", [](Draft & d) -> auto& { return d.task.control_port; }, {0, 65535},
      "Port on 127.0.0.1 for status, pause and metrics; 0: any that is free.");
  return t;
}

// A number that is the same for the same task and hardly that of a server.
std::uint32_t server_id_of(std::string_view task) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (char c : task) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return 1'000'000'000u + hash % 1'000'000'000u;
}

void check_end(Reader& r, const std::string& path, const TaskEnd& end) {
  if (end.tls.mode == mysql::TlsMode::kVerifyIdentity && end.tls.authority_file.empty() &&
      r.sound(path))
    r.problem(
        r.value_at(path + ".tls"), path + ".tls",
        fmt::format("{}.tls is verify, so tls_authority must name the authority's file", path));
  if (end.tls.certificate_file.empty() != end.tls.key_file.empty() && r.sound(path))
    r.problem(r.value_at(path), path,
              fmt::format("{}: tls_certificate and tls_key belong together", path));
  if (end.tls.mode == mysql::TlsMode::kOff && !end.tls.authority_file.empty())
    r.problem(
        r.key_at(path + ".tls_authority"), path + ".tls_authority",
        fmt::format("{}.tls_authority has no effect while tls is off; set tls to verify", path));
}

// What single settings cannot tell.
void check_task(Reader& r, Draft& d) {
  Task& task = d.task;
  check_end(r, "source", task.source);
  check_end(r, "target", task.target);
  if (r.sound("source.host") && r.sound("target.host") && task.source.host == task.target.host &&
      task.source.port == task.target.port)
    r.problem(r.value_at("target.host"), "target.host", "source and target are the same server");
  for (std::string_view section : {"tables", "rename", "columns", "rows"}) {
    if (r.present(section) && !d.dms_file.empty())
      r.problem(r.key_at(section), section,
                fmt::format("'{}' and 'table_mappings' exclude each other", section));
  }
  bool last_writer = task.conflicts.policy == ConflictPolicy::kLastWriter;
  if (last_writer && task.conflicts.last_writer_column.empty() &&
      r.sound("conflicts.last_writer_column"))
    r.problem(r.value_at("conflicts.policy"), "conflicts.policy",
              "last_writer needs conflicts.last_writer_column");
  if (task.server_id == 0) task.server_id = server_id_of(task.name);
}

std::string absolute(const std::string& directory, const std::string& path) {
  return (std::filesystem::path(directory) / path).lexically_normal().string();
}

void resolve_paths(Task& task) {
  for (TaskEnd* end : {&task.source, &task.target})
    for (std::string* file :
         {&end->tls.authority_file, &end->tls.certificate_file, &end->tls.key_file})
      if (!file->empty()) *file = absolute(task.directory, *file);
  task.state_dir =
      absolute(task.directory, task.state_dir.empty() ? "state/" + task.name : task.state_dir);
}

std::vector<config::Problem> read_dms_file(Draft& d) {
  std::string path = absolute(d.task.directory, d.dms_file);
  auto json = read_file(path, config::kTextBytesMax);
  if (!json) return {{path, 0, 0, json.error().message}};
  auto loaded = load_dms_mapping(*json, path);
  d.task.mapping = std::move(loaded.mapping);
  return std::move(loaded.problems);
}

}  // namespace

LoadedTask load_task_text(std::string_view text, const std::string& file_name,
                          const std::string& directory) {
  auto tree = config::parse_yaml(text);
  if (!tree) {
    const config::YamlError& error = tree.error();
    return {{}, {{file_name, error.at.line, error.at.column, error.message}}};
  }
  Draft draft;
  draft.task.directory = directory;
  Platform none;
  Reader reader(file_name, none);
  if ((*tree)->kind == config::YamlNode::Kind::kNull) {
    reader.problem({}, "", "the file is empty; docs/guide/replication.md shows a complete task");
  } else {
    task_table().read(reader, Place{*tree, config::Position{}, "", "the file"}, draft);
    check_task(reader, draft);
  }
  LoadedTask loaded;
  loaded.problems = reader.take_problems();
  if (!draft.dms_file.empty()) {
    auto more = read_dms_file(draft);
    loaded.problems.insert(loaded.problems.end(), more.begin(), more.end());
  }
  if (!loaded.problems.empty()) return loaded;
  resolve_paths(draft.task);
  loaded.task = std::move(draft.task);
  return loaded;
}

LoadedTask load_task(const std::string& path) {
  auto text = read_file(path, config::kTextBytesMax);
  if (!text) return {{}, {{path, 0, 0, text.error().message}}};
  std::error_code error;
  auto full = std::filesystem::absolute(path, error);
  if (error) return {{}, {{path, 0, 0, error.message()}}};
  return load_task_text(*text, path, full.lexically_normal().parent_path().string());
}

Result<mysql::SqlTarget> sql_target(const Task& task, const TaskEnd& end) {
  auto password = config::resolve_secret(end.password, task.directory);
  if (!password) return fail(std::move(password.error()));
  mysql::SqlTarget target{{end.host, end.port}, end.user, std::move(*password)};
  target.tls = end.tls;
  return target;
}

std::string task_reference() { return config::settings_reference(task_table().settings()); }

}  // namespace leeward::replication
