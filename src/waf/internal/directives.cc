// What each directive but the rules themselves does.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>

#include "base/file.h"
#include "base/sha256.h"
#include "waf/internal/program_builder.h"

namespace leeward::waf {
namespace {

std::optional<bool> on_or_off(std::string_view text) {
  if (same_ignoring_case(text, "On")) return true;
  if (same_ignoring_case(text, "Off")) return false;
  return std::nullopt;
}

}  // namespace

struct DirectiveTable {
  using Read = void (*)(ProgramBuilder&, const Directive&);
  struct Entry {
    std::string_view name;
    std::size_t least, most;  // arguments
    Read read;
  };
  static const Entry* find(std::string_view name);
  static const Entry kEntries[];

  static void wrong(ProgramBuilder& b, const Word& word, std::string_view expected) {
    b.problems_.add(word.place(), fmt::format("'{}' is not {}", word.text, expected));
  }
  static std::uint64_t number(ProgramBuilder& b, const Directive& d, std::uint64_t most) {
    const Word& word = d.arguments[0];
    std::uint64_t value = 0;
    const char* end = word.text.data() + word.text.size();
    const auto [stop, error] = std::from_chars(word.text.data(), end, value);
    if (error != std::errc() || stop != end || value > most)
      wrong(b, word, fmt::format("a number up to {}", most));
    return value;
  }
  static bool flag(ProgramBuilder& b, const Directive& d) {
    const auto value = on_or_off(d.arguments[0].text);
    if (!value) wrong(b, d.arguments[0], "On or Off");
    return value.value_or(false);
  }
  static void none(ProgramBuilder&, const Directive&) {}
  // A feature that is only understood when it is switched off.
  static void off(ProgramBuilder& b, const Directive& d) {
    if (on_or_off(d.arguments[0].text) != false)
      b.problems_.add(d.arguments[0].place(),
                      fmt::format("{} is not supported here and can only be Off", d.name.text));
  }
  static void rule_engine(ProgramBuilder& b, const Directive& d) {
    const std::string& text = d.arguments[0].text;
    Engine& engine = b.program_->settings.engine;
    if (same_ignoring_case(text, "On"))
      engine = Engine::kOn;
    else if (same_ignoring_case(text, "Off"))
      engine = Engine::kOff;
    else if (same_ignoring_case(text, "DetectionOnly"))
      engine = Engine::kDetectionOnly;
    else
      wrong(b, d.arguments[0], "On, Off or DetectionOnly");
  }
  static bool rejects(ProgramBuilder& b, const Directive& d) {
    if (same_ignoring_case(d.arguments[0].text, "Reject")) return true;
    if (!same_ignoring_case(d.arguments[0].text, "ProcessPartial"))
      wrong(b, d.arguments[0], "Reject or ProcessPartial");
    return false;
  }
  static void separator(ProgramBuilder& b, const Directive& d) {
    if (d.arguments[0].text.size() != 1) return wrong(b, d.arguments[0], "one character");
    b.program_->settings.argument_separator = d.arguments[0].text[0];
  }
  static void cookie_format(ProgramBuilder& b, const Directive& d) {
    if (number(b, d, 1) == 1)
      b.problems_.add(d.arguments[0].place(), "cookies are read as RFC 6265 has them, format 0");
  }
  static void audit_engine(ProgramBuilder& b, const Directive& d) {
    if (!on_or_off(d.arguments[0].text) && !same_ignoring_case(d.arguments[0].text, "RelevantOnly"))
      return wrong(b, d.arguments[0], "On, Off or RelevantOnly");
    b.program_->settings.audit_engine = d.arguments[0].text;
  }
  static void mime_types(ProgramBuilder& b, const Directive& d) {
    auto& types = b.program_->settings.response_mime_types;
    types.clear();
    for (const Word& word : d.arguments) types.push_back(word.text);
  }
};

#define SET_NUMBER(member, most)                                                     \
  [](ProgramBuilder& b, const Directive& d) {                                        \
    b.program_->settings.member =                                                    \
        static_cast<decltype(Settings::member)>(DirectiveTable::number(b, d, most)); \
  }
#define SET_FLAG(member)                                      \
  [](ProgramBuilder& b, const Directive& d) {                 \
    b.program_->settings.member = DirectiveTable::flag(b, d); \
  }
#define CHANGE(by, remove)                                   \
  [](ProgramBuilder& b, const Directive& d) {                \
    b.add_change(d, ProgramBuilder::Change::By::by, remove); \
  }

const DirectiveTable::Entry DirectiveTable::kEntries[] = {
    {"SecRule", 0, 99,
     [](ProgramBuilder& b, const Directive& d) { b.add_rule(b.reader_.read_rule(d)); }},
    {"SecAction", 0, 99,
     [](ProgramBuilder& b, const Directive& d) { b.add_rule(b.reader_.read_action(d)); }},
    {"SecMarker", 0, 99, [](ProgramBuilder& b, const Directive& d) { b.add_marker(d); }},
    {"SecDefaultAction", 0, 99, [](ProgramBuilder& b, const Directive& d) { b.add_defaults(d); }},
    {"SecRuleRemoveById", 1, 9999, CHANGE(kId, true)},
    {"SecRuleRemoveByTag", 1, 99, CHANGE(kTag, true)},
    {"SecRuleRemoveByMsg", 1, 99, CHANGE(kMsg, true)},
    {"SecRuleUpdateTargetById", 2, 2, CHANGE(kId, false)},
    {"SecRuleUpdateTargetByTag", 2, 2, CHANGE(kTag, false)},
    {"SecRuleUpdateTargetByMsg", 2, 2, CHANGE(kMsg, false)},
    {"SecRuleUpdateActionById", 2, 2,
     [](ProgramBuilder& b, const Directive& d) { b.add_action_change(d); }},
    {"SecRuleEngine", 1, 1, rule_engine},
    {"SecRequestBodyAccess", 1, 1, SET_FLAG(request_body_access)},
    {"SecResponseBodyAccess", 1, 1, SET_FLAG(response_body_access)},
    {"SecRequestBodyLimit", 1, 1, SET_NUMBER(request_body_bytes_max, 1u << 30)},
    {"SecRequestBodyNoFilesLimit", 1, 1, SET_NUMBER(request_body_no_files_max, 1u << 30)},
    {"SecRequestBodyInMemoryLimit", 1, 1, none},  // bodies never go to disk
    {"SecRequestBodyLimitAction", 1, 1,
     [](ProgramBuilder& b, const Directive& d) {
       b.program_->settings.request_body_reject = rejects(b, d);
     }},
    {"SecRequestBodyJsonDepthLimit", 1, 1, SET_NUMBER(json_depth_max, 10'000)},
    {"SecResponseBodyLimit", 1, 1, SET_NUMBER(response_body_bytes_max, 1u << 30)},
    {"SecResponseBodyLimitAction", 1, 1,
     [](ProgramBuilder& b, const Directive& d) { rejects(b, d); }},
    {"SecResponseBodyMimeType", 1, 99, mime_types},
    {"SecResponseBodyMimeTypesClear", 0, 0,
     [](ProgramBuilder& b, const Directive&) { b.program_->settings.response_mime_types.clear(); }},
    {"SecArgumentsLimit", 1, 1, SET_NUMBER(arguments_max, 1'000'000)},
    {"SecArgumentSeparator", 1, 1, separator},
    {"SecCookieFormat", 1, 1, cookie_format},
    {"SecCookieV0Separator", 1, 1, none},
    {"SecPcreMatchLimit", 1, 1, SET_NUMBER(regex_steps_max, 100'000'000)},
    {"SecPcreMatchLimitRecursion", 1, 1, none},  // PCRE2 has a bound on its heap instead
    {"SecUnicodeMapFile", 1, 2,
     [](ProgramBuilder& b, const Directive& d) { b.read_unicode_map(d); }},
    {"SecUnicodeCodePage", 1, 1, none},
    {"SecCollectionTimeout", 1, 1, SET_NUMBER(collection_timeout_seconds, 2'592'000)},
    {"SecComponentSignature", 1, 1,
     [](ProgramBuilder& b,
        const Directive& d) { b.program_->settings.signatures += d.arguments[0].text + "\n"; }},
    {"SecWebAppId", 1, 1,
     [](ProgramBuilder& b,
        const Directive& d) { b.program_->settings.web_app_id = d.arguments[0].text; }},
    {"SecAuditEngine", 1, 1, audit_engine},
    {"SecAuditLogParts", 1, 1,
     [](ProgramBuilder& b,
        const Directive& d) { b.program_->settings.audit_parts = d.arguments[0].text; }},
    {"SecAuditLogRelevantStatus", 1, 1,
     [](ProgramBuilder& b,
        const Directive& d) { b.program_->settings.audit_relevant_status = d.arguments[0].text; }},
    // ModSecurity's own files and the server's business.
    {"SecAuditLog", 1, 1, none},
    {"SecAuditLog2", 1, 1, none},
    {"SecAuditLogDirMode", 1, 1, none},
    {"SecAuditLogFileMode", 1, 1, none},
    {"SecAuditLogFormat", 1, 1, none},
    {"SecAuditLogStorageDir", 1, 1, none},
    {"SecAuditLogType", 1, 1, none},
    {"SecDataDir", 1, 1, none},
    {"SecDebugLog", 1, 1, none},
    {"SecDebugLogLevel", 1, 1, none},
    {"SecSensorId", 1, 1, none},
    {"SecServerSignature", 1, 1, none},
    {"SecStatusEngine", 1, 1, off},
    {"SecTmpDir", 1, 1, none},
    {"SecTmpSaveUploadedFiles", 1, 1, off},
    {"SecUploadDir", 1, 1, none},
    {"SecUploadFileLimit", 1, 1, none},
    {"SecUploadFileMode", 1, 1, none},
    {"SecUploadKeepFiles", 1, 1, off},
    {"SecXmlExternalEntity", 1, 1, off},
    {"SecInterceptOnError", 1, 1, off},
    {"SecContentInjection", 1, 1, off},
    {"SecStreamInBodyInspection", 1, 1, off},
    {"SecStreamOutBodyInspection", 1, 1, off},
    {"SecHashEngine", 1, 1, off},
    {"SecConnEngine", 1, 1, off},
    {"SecDisableBackendCompression", 1, 1, off},
};

#undef SET_NUMBER
#undef SET_FLAG
#undef CHANGE

const DirectiveTable::Entry* DirectiveTable::find(std::string_view name) {
  const auto* found = std::find_if(std::begin(kEntries), std::end(kEntries), [&](const Entry& e) {
    return same_ignoring_case(e.name, name);
  });
  return found == std::end(kEntries) ? nullptr : found;
}

void ProgramBuilder::read(const Directive& directive) {
  const DirectiveTable::Entry* entry = DirectiveTable::find(directive.name.text);
  if (entry == nullptr) {
    const bool container = directive.name.text.starts_with('<');
    const bool include = same_ignoring_case(directive.name.text, "Include") ||
                         same_ignoring_case(directive.name.text, "IncludeOptional");
    return problems_.add(
        directive.name.place(),
        container ? fmt::format("{}…> is of a web server's configuration and not known here",
                                directive.name.text)
        : include ? std::string("rules from a text may not include files")
                  : fmt::format("there is no directive '{}'", directive.name.text));
  }
  const std::size_t given = directive.arguments.size();
  if (given < entry->least || given > entry->most)
    return problems_.add(directive.name.place(), fmt::format("{} takes {} words, not {}",
                                                             entry->name, entry->least, given));
  // Only the next rule may follow 'chain'.
  const bool rule = entry->name == "SecRule" || entry->name == "SecAction";
  if (!rule) end_chain();
  entry->read(*this, directive);
}

void ProgramBuilder::read_unicode_map(const Directive& directive) {
  const Word& word = directive.arguments[0];
  int page = 20127;
  if (directive.arguments.size() == 2) {
    const std::string& text = directive.arguments[1].text;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), page);
    if (error != std::errc() || end != text.data() + text.size())
      return DirectiveTable::wrong(*this, directive.arguments[1], "the number of a code page");
  }
  if (!files_) return problems_.add(word.place(), "rules from a text may not read files");
  std::filesystem::path path(word.text);
  if (path.is_relative()) path = std::filesystem::path(*word.place().file).parent_path() / path;
  auto text = read_file(path, 4u << 20);
  if (!text) return problems_.add(word.place(), text.error().message);
  map_read_.append(sha256_hex(*text)) += '\n';
  auto map = UnicodeMap::parse(*text, page, path.string());
  if (!map) return problems_.add(word.place(), map.error().message);
  program_->unicode_map = std::make_shared<const UnicodeMap>(std::move(*map));
}

}  // namespace leeward::waf
