// init, validate, schema: what needs no running platform.
#include <filesystem>
#include <regex>
#include <sstream>

#include "base/file.h"
#include "base/token.h"
#include "cli/internal/commands.h"
#include "config/config.h"
#include "edge/seclang_engine.h"
#include "model/edge.h"

namespace leeward::cli {
namespace {

struct NewFile {
  std::string path;
  std::string text;
  int mode;
};

Result<std::vector<NewFile>> files_of(const InitOptions& options) {
  std::vector<NewFile> files;
  auto directory = std::filesystem::path(options.file).parent_path() / "secrets";
  for (const char* name : {"agent.token", "operator.token", "db-admin", "db-replication"}) {
    auto token = random_token();
    if (!token) return fail(std::move(token.error()));
    files.push_back({(directory / name).string(), *token + "\n", 0600});
  }
  files.push_back({options.file, config::starting_file(options.name), 0644});
  return files;
}

Status write_files(const InitOptions& options, const std::vector<NewFile>& files) {
  if (!options.force)
    for (const NewFile& file : files)
      if (std::error_code ignored; std::filesystem::exists(file.path, ignored))
        return fail(Code::kConflict,
                    "{} exists already; nothing was written (--force overwrites it "
                    "and every secret beside it)",
                    file.path);
  auto directory = std::filesystem::path(files.front().path).parent_path().string();
  if (auto made = make_directories(directory); !made) return made;
  for (const NewFile& file : files)
    if (auto written = write_file_durably(file.path, file.text, file.mode); !written)
      return written;
  return {};
}

}  // namespace

int init(const InitOptions& options, Io& io) {
  if (!config::valid_platform_name(options.name))
    return report(io, Error{Code::kInvalid,
                            fmt::format("'{}' cannot be the name of a platform; write a lower-case "
                                        "letter, then letters, digits and hyphens, 32 at most",
                                        options.name)});
  auto files = files_of(options);
  if (!files) return report(io, files.error());
  if (auto written = write_files(options, *files); !written) return report(io, written.error());
  for (const NewFile& file : *files) io.out << file.path << "\n";
  io.err << "Next: put your sites' addresses and commands into " << options.file
         << ", then run: leeward validate " << options.file << std::endl;
  return 0;
}

// "FILE:LINE:COLUMN: text" or "FILE: text", as the firewall's engine says what is wrong.
config::Problem rules_problem(const std::string& file, const std::string& text) {
  const std::regex place_rule("^(.+?):([0-9]{1,9}):([0-9]{1,9}): ");
  std::smatch place;
  if (std::regex_search(text, place, place_rule))
    return {place[1], std::stoi(place[2]), std::stoi(place[3]), place.suffix()};
  const bool named = text.starts_with(file + ": ");
  return {file, 0, 0, named ? text.substr(file.size() + 2) : text};
}

// Mistakes in the files that the configuration names, as far as they are on this machine.
std::vector<config::Problem> check_rules(const Platform& platform, Io& io) {
  if (!platform.edge) return {};
  EdgeWaf settings = platform.edge->firewall.waf;
  if (settings.policy) {
    const std::filesystem::path core_rules = settings.policy->core_rules;
    if (!core_rules.empty() && !std::filesystem::exists(core_rules / "rules")) {
      io.err << "note: " << (core_rules / "rules").string()
             << " is not on this machine; the firewall's policy was not tried" << std::endl;
      return {};
    }
    settings.rules_file = "policy";
  } else if (settings.rules_file.empty()) {
    return {};
  } else {
    settings.rules_file = (std::filesystem::path(platform.directory) / settings.rules_file)
                              .lexically_normal()
                              .string();
  }
  auto engine = edge::SecLangEngine::load(settings);
  if (engine) return {};
  if (engine.error().code != Code::kNotFound) {
    std::vector<config::Problem> problems;
    std::istringstream lines(engine.error().message);
    for (std::string line; std::getline(lines, line);)
      problems.push_back(rules_problem(settings.rules_file, line));
    return problems;
  }
  io.err << "note: edge.firewall.rules_file " << settings.rules_file
         << " is not on this machine; its rules were not checked" << std::endl;
  return {};
}

// Routes whose large answers no rule sees, although answers are to be inspected: nothing is wrong
// with them, but who wrote that should know.
void note_slices(const Platform& platform, Io& io) {
  if (!platform.edge || !platform.edge->firewall.waf.responses) return;
  for (const EdgeRoute& route : platform.edge->routes)
    for (const EdgeCachePolicy& named : platform.edge->cache_policies)
      if (named.name == route.cache && named.policy.slice_bytes != 0) {
        const std::string note = fmt::format(
            "note: answers on route {}{} that are larger than {} bytes are not inspected: the edge "
            "asks for them in parts (slice_bytes of cache policy {})",
            route.host, route.path, named.policy.slice_bytes, named.name);
        io.err << printable(note) << std::endl;
      }
}

int validate(const Globals& globals, const std::string& file, Io& io) {
  config::Loaded loaded = config::load_file(file.empty() ? globals.config_path : file);
  const std::size_t own_problems = loaded.problems.size();
  if (loaded.platform) {
    for (config::Problem& p : check_rules(*loaded.platform, io))
      loaded.problems.push_back(std::move(p));
    note_slices(*loaded.platform, io);
  }
  if (globals.json) {
    Json problems = Json::array();
    for (const config::Problem& p : loaded.problems)
      problems.push_back(
          {{"file", p.file}, {"line", p.line}, {"column", p.column}, {"message", p.message}});
    io.out << to_text({{"ok", loaded.problems.empty()}, {"problems", std::move(problems)}});
  } else {
    for (const config::Problem& p : loaded.problems) io.err << printable(to_string(p)) << "\n";
  }
  if (!loaded.platform || loaded.problems.size() > own_problems) return exit_status(Code::kInvalid);
  const Platform& p = *loaded.platform;
  if (!globals.json)
    io.out << fmt::format(
        "{} is good: platform {}, {} sites, {} databases, {} tiers, {} DNS records\n",
        file.empty() ? globals.config_path : file, p.name, p.sites.size(), p.databases.size(),
        p.tiers.size(), p.dns.records.size());
  return 0;
}

int schema(bool markdown, Io& io) {
  io.out << (markdown ? config::markdown_reference() : config::json_schema());
  return 0;
}

}  // namespace leeward::cli
