#include "functions/sigv4.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/sha256.h"

namespace leeward::functions {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr std::string_view kService = "lambda";
constexpr std::string_view kEnd = "aws4_request";
constexpr std::size_t kFieldsMax = 64;

std::string hex(std::string_view bytes) {
  std::string text;
  for (char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos || parts.size() > kFieldsMax) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The path as it was sent, encoded once more: what all services but S3 sign.
std::string canonical_path(std::string_view path) {
  std::string out;
  for (char c : path) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~' || c == '/';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out.empty() ? "/" : out;
}

std::string canonical_query(std::string_view query) {
  if (query.empty()) return "";
  std::vector<std::pair<std::string, std::string>> all;
  for (std::string_view one : split(query, '&')) {
    const auto equals = std::min(one.find('='), one.size());
    all.emplace_back(one.substr(0, equals), one.substr(std::min(equals + 1, one.size())));
  }
  std::sort(all.begin(), all.end());
  std::string out;
  for (const auto& [name, value] : all)
    out += fmt::format("{}{}={}", out.empty() ? "" : "&", name, value);
  return out;
}

// Spaces in a row are one (trimmed at both ends).
std::string canonical_value(std::string_view value) {
  std::string out;
  for (char c : trimmed(value))
    if (c != ' ' || out.empty() || out.back() != ' ') out += c;
  return out;
}

struct Scope {
  std::string key_id, date, region;
  std::string text() const { return fmt::format("{}/{}/{}/{}", date, region, kService, kEnd); }
};

std::string signature_of(const net::HttpRequest& request, const Scope& scope, std::string_view time,
                         const std::string& signed_fields, const std::string& secret) {
  const std::string_view target = request.target;
  const auto question = std::min(target.find('?'), target.size());
  std::string canonical =
      fmt::format("{}\n{}\n{}\n", request.method, canonical_path(target.substr(0, question)),
                  canonical_query(target.substr(std::min(question + 1, target.size()))));
  for (std::string_view name : split(signed_fields, ';'))
    canonical += fmt::format("{}:{}\n", name, canonical_value(request.header(name)));
  canonical += fmt::format("\n{}\n{}", signed_fields, sha256_hex(request.body));
  const std::string to_sign =
      fmt::format("{}\n{}\n{}\n{}", kAlgorithm, time, scope.text(), sha256_hex(canonical));
  std::string key = "AWS4" + secret;
  for (std::string_view step :
       {std::string_view(scope.date), std::string_view(scope.region), kService, kEnd})
    key = hmac_sha256(key, step);
  return hex(hmac_sha256(key, to_sign));
}

struct Authorization {
  Scope scope;
  std::string service_and_end;
  std::string signed_fields, signature;
};

std::optional<Authorization> parse_authorization(std::string_view text) {
  if (!text.starts_with(kAlgorithm)) return std::nullopt;
  text.remove_prefix(kAlgorithm.size());
  Authorization out;
  for (std::string_view part : split(text, ',')) {
    part = trimmed(part);
    const auto equals = part.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string_view name = part.substr(0, equals), value = part.substr(equals + 1);
    if (name == "Credential") {
      const auto parts = split(value, '/');
      if (parts.size() != 5) return std::nullopt;
      out.scope = {std::string(parts[0]), std::string(parts[1]), std::string(parts[2])};
      out.service_and_end = fmt::format("{}/{}", parts[3], parts[4]);
    } else if (name == "SignedHeaders") {
      out.signed_fields = value;
    } else if (name == "Signature") {
      out.signature = value;
    }
  }
  if (out.scope.key_id.empty() || out.signed_fields.empty() || out.signature.empty())
    return std::nullopt;
  return out;
}

// "20261129T154500Z"; nullopt for anything else.
std::optional<WallTime> parse_time(std::string_view text) {
  if (text.size() != 16 || text[8] != 'T' || text[15] != 'Z') return std::nullopt;
  auto number = [&](std::size_t at, std::size_t count) {
    int n = 0;
    for (char c : text.substr(at, count)) {
      if (c < '0' || c > '9') return -1;
      n = n * 10 + (c - '0');
    }
    return n;
  };
  using std::chrono::year_month_day;
  const int hour = number(9, 2), minute = number(11, 2), second = number(13, 2);
  const year_month_day date{std::chrono::year(number(0, 4)),
                            std::chrono::month(static_cast<unsigned>(number(4, 2))),
                            std::chrono::day(static_cast<unsigned>(number(6, 2)))};
  // Years that nanoseconds since 1970 can count.
  if (!date.ok() || number(0, 4) < 1970 || number(0, 4) > 2200 || hour < 0 || hour > 23 ||
      minute < 0 || minute > 59 || second < 0 || second > 60)
    return std::nullopt;
  return WallTime(std::chrono::sys_days(date).time_since_epoch() + std::chrono::hours(hour) +
                  std::chrono::minutes(minute) + std::chrono::seconds(second));
}

std::string time_text(WallTime now) {
  std::string out;
  for (char c : format_wall(now).substr(0, 19))
    if (c != '-' && c != ':') out += c;
  return out + "Z";
}

tl::unexpected<ApiError> refuse(std::string type, std::string message, int status = 403) {
  return tl::unexpected(ApiError{status, std::move(type), std::move(message)});
}

bool is_signed(const std::string& fields, std::string_view name) {
  const auto names = split(fields, ';');
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

ApiStatus check_signature(const net::HttpRequest& request, const AccessKeys& keys, WallTime now) {
  const std::string_view given = request.header("Authorization");
  if (given.empty())
    return refuse("MissingAuthenticationTokenException", "Missing Authentication Token");
  const auto authorization = parse_authorization(given);
  if (!authorization)
    return refuse("IncompleteSignatureException",
                  "Authorization needs AWS4-HMAC-SHA256 with Credential, SignedHeaders and "
                  "Signature.",
                  400);
  const Scope& scope = authorization->scope;
  const std::string_view time = request.header("X-Amz-Date");
  const auto signed_at = parse_time(time);
  if (!signed_at || !is_signed(authorization->signed_fields, "host") ||
      !is_signed(authorization->signed_fields, "x-amz-date"))
    return refuse("IncompleteSignatureException",
                  "Host and X-Amz-Date, as YYYYMMDDTHHMMSSZ, must be sent and signed.", 400);
  if (authorization->service_and_end != fmt::format("{}/{}", kService, kEnd) ||
      scope.date != time.substr(0, 8))
    return refuse("InvalidSignatureException",
                  "Credential should be scoped to the date of the request and to service: "
                  "'lambda'.");
  const Duration off = now > *signed_at ? now - *signed_at : *signed_at - now;
  if (off > kClockTolerance)
    return refuse(
        "InvalidSignatureException",
        fmt::format("Signature {}: {} is not within 5 minutes of {}",
                    now > *signed_at ? "expired" : "not yet current", time, time_text(now)));
  const auto key = keys.find(scope.key_id);
  if (key == keys.end())
    return refuse("UnrecognizedClientException",
                  "The security token included in the request is invalid.");
  const std::string expected =
      signature_of(request, scope, time, authorization->signed_fields, key->second);
  const bool same =
      expected.size() == authorization->signature.size() &&
      ::CRYPTO_memcmp(expected.data(), authorization->signature.data(), expected.size()) == 0;
  if (!same)
    return refuse("InvalidSignatureException",
                  "The request signature we calculated does not match the signature you provided. "
                  "Check your AWS Secret Access Key and signing method.");
  return {};
}

void sign(net::HttpRequest& request, const std::string& host, const std::string& key_id,
          const std::string& secret, const std::string& region, WallTime now) {
  const std::string time = time_text(now);
  request.headers["Host"] = host;
  request.headers["X-Amz-Date"] = time;
  const Scope scope{key_id, time.substr(0, 8), region};
  const std::string fields = "host;x-amz-date";
  request.headers["Authorization"] =
      fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}", kAlgorithm, key_id,
                  scope.text(), fields, signature_of(request, scope, time, fields, secret));
}

}  // namespace leeward::functions
