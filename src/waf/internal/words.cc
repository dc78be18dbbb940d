#include "waf/internal/words.h"

#include <algorithm>
#include <array>

namespace leeward::waf {
namespace {

constexpr std::array<std::string_view, 108> kVariables = {
    "ARGS",
    "ARGS_GET",
    "ARGS_POST",
    "ARGS_NAMES",
    "ARGS_GET_NAMES",
    "ARGS_POST_NAMES",
    "REQUEST_COOKIES",
    "REQUEST_COOKIES_NAMES",
    "REQUEST_HEADERS",
    "REQUEST_HEADERS_NAMES",
    "FILES",
    "FILES_NAMES",
    "FILES_SIZES",
    "FILES_TMPNAMES",
    "FILES_TMP_CONTENT",
    "MULTIPART_FILENAME",
    "MULTIPART_NAME",
    "MULTIPART_PART_HEADERS",
    "RESPONSE_HEADERS",
    "RESPONSE_HEADERS_NAMES",
    "XML",
    "GEO",
    "ENV",
    "LEEWARD_BOT",
    "ARGS_COMBINED_SIZE",
    "AUTH_TYPE",
    "FILES_COMBINED_SIZE",
    "FULL_REQUEST",
    "FULL_REQUEST_LENGTH",
    "INBOUND_DATA_ERROR",
    "MULTIPART_BOUNDARY_QUOTED",
    "MULTIPART_BOUNDARY_WHITESPACE",
    "MULTIPART_CRLF_LF_LINES",
    "MULTIPART_DATA_AFTER",
    "MULTIPART_DATA_BEFORE",
    "MULTIPART_FILE_LIMIT_EXCEEDED",
    "MULTIPART_HEADER_FOLDING",
    "MULTIPART_INVALID_HEADER_FOLDING",
    "MULTIPART_INVALID_PART",
    "MULTIPART_INVALID_QUOTING",
    "MULTIPART_LF_LINE",
    "MULTIPART_MISSING_SEMICOLON",
    "MULTIPART_STRICT_ERROR",
    "MULTIPART_UNMATCHED_BOUNDARY",
    "OUTBOUND_DATA_ERROR",
    "PATH_INFO",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REMOTE_HOST",
    "REMOTE_PORT",
    "REMOTE_USER",
    "REQBODY_ERROR",
    "REQBODY_ERROR_MSG",
    "REQBODY_PROCESSOR",
    "REQBODY_PROCESSOR_ERROR",
    "REQBODY_PROCESSOR_ERROR_MSG",
    "REQUEST_BASENAME",
    "REQUEST_BODY",
    "REQUEST_BODY_LENGTH",
    "REQUEST_FILENAME",
    "REQUEST_LINE",
    "REQUEST_METHOD",
    "REQUEST_PROTOCOL",
    "REQUEST_URI",
    "REQUEST_URI_RAW",
    "RESPONSE_BODY",
    "RESPONSE_CONTENT_LENGTH",
    "RESPONSE_CONTENT_TYPE",
    "RESPONSE_PROTOCOL",
    "RESPONSE_STATUS",
    "SERVER_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "UNIQUE_ID",
    "URLENCODED_ERROR",
    "WEBAPPID",
    "MODSEC_BUILD",
    "LEEWARD_JA4",
    "LEEWARD_CRAWLER",
    "TX",
    "IP",
    "GLOBAL",
    "RESOURCE",
    "SESSION",
    "USER",
    "MATCHED_VAR",
    "MATCHED_VAR_NAME",
    "MATCHED_VARS",
    "MATCHED_VARS_NAMES",
    "RULE",
    "SESSIONID",
    "USERID",
    "DURATION",
    "HIGHEST_SEVERITY",
    "TIME",
    "TIME_DAY",
    "TIME_EPOCH",
    "TIME_HOUR",
    "TIME_MIN",
    "TIME_MON",
    "TIME_SEC",
    "TIME_WDAY",
    "TIME_YEAR",
    // Other names of the same; their variables stand in kVariableAliases.
    "MULTIPART_SEMICOLON_MISSING",
    "STATUS",
    "REQUEST_BASE_NAME",
    "FILES_TMP_NAMES",
    "MODSECURITY_BUILD",
};
constexpr std::size_t kVariableCount = static_cast<std::size_t>(Variable::kTimeYear) + 1;
static_assert(kVariables[kVariableCount - 1] == "TIME_YEAR");
static_assert(kVariables[static_cast<std::size_t>(Variable::kTx)] == "TX");
constexpr std::array<Variable, kVariables.size() - kVariableCount> kVariableAliases = {
    Variable::kMultipartMissingSemicolon, Variable::kResponseStatus, Variable::kRequestBasename,
    Variable::kFilesTmpNames, Variable::kModsecBuild};

constexpr std::array<std::string_view, 31> kOperators = {
    "unconditionalMatch",
    "noMatch",
    "rx",
    "rxGlobal",
    "pm",
    "pmFromFile",
    "contains",
    "containsWord",
    "strmatch",
    "beginsWith",
    "endsWith",
    "streq",
    "within",
    "eq",
    "ge",
    "gt",
    "le",
    "lt",
    "ipMatch",
    "ipMatchFromFile",
    "detectSQLi",
    "detectXSS",
    "validateByteRange",
    "validateUrlEncoding",
    "validateUtf8Encoding",
    "verifyCC",
    "verifyCPF",
    "verifySSN",
    "verifySVNR",
    "geoLookup",
    "rbl",
};
static_assert(kOperators[static_cast<std::size_t>(Operator::kRbl)] == "rbl");

constexpr std::array<std::string_view, 34> kActions = {
    "accuracy",  "allow",  "auditlog",   "block",      "capture", "chain",    "ctl",
    "deny",      "drop",   "expirevar",  "id",         "initcol", "log",      "logdata",
    "maturity",  "msg",    "multiMatch", "noauditlog", "nolog",   "pass",     "phase",
    "redirect",  "rev",    "setsid",     "setuid",     "setvar",  "severity", "skip",
    "skipAfter", "status", "tag",        "t",          "ver",     "xmlns",
};
static_assert(kActions[static_cast<std::size_t>(Action::kXmlns)] == "xmlns");

unsigned char lower(unsigned char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; }

template <typename Table>
std::optional<std::size_t> position(const Table& table, std::string_view name) {
  for (std::size_t i = 0; i < table.size(); ++i)
    if (same_ignoring_case(table[i], name)) return i;
  return std::nullopt;
}

}  // namespace

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return lower(x) == lower(y); });
}

std::uint32_t hash_ignoring_case(std::string_view name) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const unsigned char c : name) hash = (hash ^ lower(c)) * 16777619u;
  return hash;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::optional<Variable> variable_named(std::string_view name) {
  const auto at = position(kVariables, name);
  if (!at) return std::nullopt;
  return *at < kVariableCount ? static_cast<Variable>(*at) : kVariableAliases[*at - kVariableCount];
}
std::string_view name(Variable variable) { return kVariables[index(variable)]; }

std::optional<Operator> operator_named(std::string_view name) {
  if (same_ignoring_case(name, "pmf")) return Operator::kPmFromFile;
  if (same_ignoring_case(name, "ipMatchF")) return Operator::kIpMatchFromFile;
  const auto at = position(kOperators, name);
  return at ? std::optional(static_cast<Operator>(*at)) : std::nullopt;
}
std::string_view name(Operator op) { return kOperators[static_cast<std::size_t>(op)]; }

std::optional<Action> action_named(std::string_view name) {
  const auto at = position(kActions, name);
  return at ? std::optional(static_cast<Action>(*at)) : std::nullopt;
}

}  // namespace leeward::waf
