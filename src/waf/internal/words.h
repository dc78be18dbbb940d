// The vocabulary of SecLang: the variables, operators and actions there are, by name and by number.
// A name that is in no table is an error of whoever wrote the rule, never something to pass over.
// Source: ModSecurity Reference Manual v3; names in any case.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace leeward::waf {

// In the order of the table in words.cc.
enum class Variable : std::uint8_t {
  // Lists of named values.
  kArgs,
  kArgsGet,
  kArgsPost,
  kArgsNames,
  kArgsGetNames,
  kArgsPostNames,
  kRequestCookies,
  kRequestCookiesNames,
  kRequestHeaders,
  kRequestHeadersNames,
  kFiles,
  kFilesNames,
  kFilesSizes,
  kFilesTmpNames,
  kFilesTmpContent,
  kMultipartFilename,
  kMultipartName,
  kMultipartPartHeaders,
  kResponseHeaders,
  kResponseHeadersNames,
  kXml,
  kGeo,
  kEnv,
  kLeewardBot,  // bot_signals.h: named values, each its own name
  // One value, empty when there is none.
  kArgsCombinedSize,
  kAuthType,
  kFilesCombinedSize,
  kFullRequest,
  kFullRequestLength,
  kInboundDataError,
  kMultipartBoundaryQuoted,
  kMultipartBoundaryWhitespace,
  kMultipartCrlfLfLines,
  kMultipartDataAfter,
  kMultipartDataBefore,
  kMultipartFileLimitExceeded,
  kMultipartHeaderFolding,
  kMultipartInvalidHeaderFolding,
  kMultipartInvalidPart,
  kMultipartInvalidQuoting,
  kMultipartLfLine,
  kMultipartMissingSemicolon,
  kMultipartStrictError,
  kMultipartUnmatchedBoundary,
  kOutboundDataError,
  kPathInfo,
  kQueryString,
  kRemoteAddr,
  kRemoteHost,
  kRemotePort,
  kRemoteUser,
  kReqbodyError,
  kReqbodyErrorMsg,
  kReqbodyProcessor,
  kReqbodyProcessorError,
  kReqbodyProcessorErrorMsg,
  kRequestBasename,
  kRequestBody,
  kRequestBodyLength,
  kRequestFilename,
  kRequestLine,
  kRequestMethod,
  kRequestProtocol,
  kRequestUri,
  kRequestUriRaw,
  kResponseBody,
  kResponseContentLength,
  kResponseContentType,
  kResponseProtocol,
  kResponseStatus,
  kServerAddr,
  kServerName,
  kServerPort,
  kUniqueId,
  kUrlencodedError,
  kWebAppId,
  kModsecBuild,
  kLeewardJa4,
  kLeewardCrawler,
  // Change while the rules of a phase run.
  kTx,
  kIp,
  kGlobal,
  kResource,
  kSession,
  kUser,
  kMatchedVar,
  kMatchedVarName,
  kMatchedVars,
  kMatchedVarsNames,
  kRule,
  kSessionId,
  kUserId,
  kDuration,
  kHighestSeverity,
  kTime,
  kTimeDay,
  kTimeEpoch,
  kTimeHour,
  kTimeMin,
  kTimeMon,
  kTimeSec,
  kTimeWday,
  kTimeYear,
};
inline constexpr std::size_t kListCount = static_cast<std::size_t>(Variable::kArgsCombinedSize);
inline constexpr std::size_t kStableCount = static_cast<std::size_t>(Variable::kTx);

inline std::size_t index(Variable v) { return static_cast<std::size_t>(v); }
// Its values have names, so that a rule may choose among them.
inline bool has_names(Variable v) {
  return index(v) < kListCount || (v >= Variable::kTx && v <= Variable::kUser) ||
         v == Variable::kMatchedVars || v == Variable::kMatchedVarsNames || v == Variable::kRule;
}
// Stays as it is while the rules of one phase run.
inline bool is_stable(Variable v) { return index(v) < kStableCount; }
// Kept between requests.
inline bool is_persistent(Variable v) { return v >= Variable::kIp && v <= Variable::kUser; }

std::optional<Variable> variable_named(std::string_view name);
std::string_view name(Variable variable);

enum class Operator : std::uint8_t {
  kUnconditional,
  kNoMatch,
  kRx,
  kRxGlobal,
  kPm,
  kPmFromFile,
  kContains,
  kContainsWord,
  kStrmatch,
  kBeginsWith,
  kEndsWith,
  kStreq,
  kWithin,
  kEq,
  kGe,
  kGt,
  kLe,
  kLt,
  kIpMatch,
  kIpMatchFromFile,
  kDetectSqli,
  kDetectXss,
  kValidateByteRange,
  kValidateUrlEncoding,
  kValidateUtf8Encoding,
  kVerifyCc,
  kVerifyCpf,
  kVerifySsn,
  kVerifySvnr,
  kGeoLookup,
  kRbl,
};
std::optional<Operator> operator_named(std::string_view name);  // without its '@'
std::string_view name(Operator op);

enum class Action : std::uint8_t {
  kAccuracy,
  kAllow,
  kAuditlog,
  kBlock,
  kCapture,
  kChain,
  kCtl,
  kDeny,
  kDrop,
  kExpirevar,
  kId,
  kInitcol,
  kLog,
  kLogdata,
  kMaturity,
  kMsg,
  kMultiMatch,
  kNoauditlog,
  kNolog,
  kPass,
  kPhase,
  kRedirect,
  kRev,
  kSetsid,
  kSetuid,
  kSetvar,
  kSeverity,
  kSkip,
  kSkipAfter,
  kStatus,
  kTag,
  kTransform,
  kVer,
  kXmlns,
};
std::optional<Action> action_named(std::string_view name);

// ASCII only, as names in HTTP and in SecLang are.
bool same_ignoring_case(std::string_view a, std::string_view b);
std::uint32_t hash_ignoring_case(std::string_view name);
std::string_view trimmed(std::string_view text);

}  // namespace leeward::waf
