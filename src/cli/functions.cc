// fn: functions of one host, through its Lambda API and what it tells beside it.
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "cli/internal/commands.h"
#include "functions/base64.h"
#include "functions/sigv4.h"
#include "functions/zip.h"
#include "net/http.h"

namespace leeward::cli {
namespace {

constexpr Duration kInvokeTimeout = std::chrono::minutes(16);  // longer than any function may run
constexpr char kFunctions[] = "/2015-03-31/functions";

Result<Endpoint> endpoint_of(const FnOptions& options) {
  std::string_view text = options.address;
  if (text.starts_with("http://")) text.remove_prefix(7);
  if (text.ends_with('/')) text.remove_suffix(1);
  return parse_endpoint(text);
}

Result<net::HttpResponse> call(const FnOptions& options, net::HttpRequest request,
                               Duration timeout) {
  auto endpoint = endpoint_of(options);
  if (!endpoint) return fail(std::move(endpoint.error()).wrap("--address"));
  // As awscli has them. A host that asks for no signature does not look at one.
  const char* key = std::getenv("AWS_ACCESS_KEY_ID");
  const char* secret = std::getenv("AWS_SECRET_ACCESS_KEY");
  if (key != nullptr && secret != nullptr) {
    const char* region = std::getenv("AWS_DEFAULT_REGION");
    request.target = request.path;  // it has nothing that would be encoded
    functions::sign(request, to_string(*endpoint), key, secret, region ? region : "local",
                    SystemClock().now().wall);
  }
  auto response = net::http_call(*endpoint, std::move(request), timeout);
  if (!response)
    return fail(std::move(response.error()).wrap("the function host; `leeward functions` is it"));
  if (response->status < 400) return response;
  // The API's shape: {"Type", "message" or "Message"}.
  const Json body = Json::parse(response->body, nullptr, false);
  std::string message = text_of(body, "message");
  if (message.empty()) message = text_of(body, "Message");
  const auto type = response->headers.find("x-amzn-ErrorType");
  const std::string name = type == response->headers.end() ? "" : printable(type->second) + ": ";
  const Code code = response->status == 404   ? Code::kNotFound
                    : response->status == 409 ? Code::kConflict
                    : response->status == 403 ? Code::kRefused
                    : response->status < 500  ? Code::kInvalid
                                              : Code::kInternal;
  return fail(code, "{}{}", name, message.empty() ? "refused" : message);
}

Result<std::string> zip_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return fail(os_error(errno, path));
  if (!S_ISDIR(info.st_mode)) return read_file(path);
  std::vector<functions::ZipSource> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path, error)) {
    if (entry.is_directory()) continue;
    if (!entry.is_regular_file() || entry.is_symlink())
      return fail(Code::kInvalid, "{} is neither a file nor a directory", entry.path().string());
    auto content = read_file(entry.path().string());
    if (!content) return fail(content.error());
    const bool executable = (entry.status().permissions() & std::filesystem::perms::owner_exec) !=
                            std::filesystem::perms::none;
    files.push_back(
        {std::filesystem::relative(entry.path(), path).string(), std::move(*content), executable});
  }
  if (error) return fail(Code::kIo, "{}: {}", path, error.message());
  if (files.empty()) return fail(Code::kInvalid, "{} holds no file", path);
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return functions::make_zip(files);
}

net::HttpRequest request_for(std::string method, std::string path, const Json& body) {
  net::HttpRequest request;
  request.method = std::move(method);
  request.path = std::move(path);
  if (!body.is_null()) request.body = to_text(body, -1);
  return request;
}

}  // namespace

int fn_deploy(const Globals& globals, const FnOptions& options, Io& io) {
  auto archive = zip_of(options.code);
  if (!archive) return report(io, archive.error());
  Json settings = Json::object();
  if (!options.runtime.empty()) settings["Runtime"] = options.runtime;
  if (!options.handler.empty()) settings["Handler"] = options.handler;
  if (options.memory > 0) settings["MemorySize"] = options.memory;
  if (options.timeout > 0) settings["Timeout"] = options.timeout;
  for (const std::string& variable : options.environment) {
    const auto equals = variable.find('=');
    if (equals == std::string::npos || equals == 0)
      return report(io, Error{Code::kInvalid, "--env wants NAME=VALUE, not '" + variable + "'"});
    settings["Environment"]["Variables"][variable.substr(0, equals)] = variable.substr(equals + 1);
  }
  const std::string path = fmt::format("{}/{}", kFunctions, options.name);
  auto known = call(options, request_for("GET", path, nullptr), kCallTimeout);
  if (!known && known.error().code != Code::kNotFound) return report(io, known.error());
  Result<net::HttpResponse> done = fail(Code::kInternal, "nothing was sent");
  const std::string encoded = functions::base64(*archive);
  if (known) {
    // Settings first: the new code may need them.
    if (!settings.empty()) {
      done = call(options, request_for("PUT", path + "/configuration", settings), kCallTimeout);
      if (!done) return report(io, done.error());
    }
    done = call(options, request_for("PUT", path + "/code", {{"ZipFile", encoded}}), 120s);
  } else {
    settings["FunctionName"] = options.name;
    settings["Role"] = "arn:aws:iam::000000000000:role/none";
    settings["Code"] = {{"ZipFile", encoded}};
    done = call(options, request_for("POST", kFunctions, settings), 120s);
  }
  if (!done) return report(io, done.error());
  const Json answer = Json::parse(done->body, nullptr, false);
  if (globals.json) {
    io.out << to_text(answer);
  } else {
    io.out << fmt::format("{} {} ({} bytes, sha256 {})\n", known ? "updated" : "created",
                          text_of(answer, "FunctionName"), archive->size(),
                          text_of(answer, "CodeSha256"));
  }
  return 0;
}

int fn_invoke(const Globals& globals, const FnOptions& options, Io& io) {
  net::HttpRequest request;
  request.method = "POST";
  request.path = fmt::format("{}/{}/invocations", kFunctions, options.name);
  request.body = options.payload;
  if (!options.payload_file.empty()) {
    auto payload = read_file(options.payload_file);
    if (!payload) return report(io, payload.error());
    request.body = std::move(*payload);
  }
  request.headers["X-Amz-Log-Type"] = "Tail";
  if (options.event) request.headers["X-Amz-Invocation-Type"] = "Event";
  auto response = call(options, std::move(request), kInvokeTimeout);
  if (!response) return report(io, response.error());
  const bool failed = response->headers.contains("X-Amz-Function-Error");
  std::string log;
  if (auto header = response->headers.find("X-Amz-Log-Result"); header != response->headers.end())
    log = functions::from_base64(header->second).value_or("");
  if (globals.json) {
    Json json{{"status", response->status}, {"function_error", failed}};
    const Json payload = Json::parse(response->body, nullptr, false);
    json["payload"] = payload.is_discarded() ? Json(response->body) : payload;
    json["log"] = log;
    io.out << to_text(json);
  } else {
    io.out << response->body << "\n";
    if (options.logs)
      for (std::size_t at = 0; at < log.size();) {
        const auto end = std::min(log.find('\n', at), log.size());
        io.err << printable(log.substr(at, end - at)) << "\n";
        at = end + 1;
      }
  }
  return failed ? exit_status(Code::kUnhealthy) : 0;
}

int fn_list(const Globals& globals, const FnOptions& options, Io& io) {
  auto response = call(options, request_for("GET", "/leeward/functions", nullptr), kCallTimeout);
  if (!response) return report(io, response.error());
  const Json answer = Json::parse(response->body, nullptr, false);
  if (globals.json) {
    io.out << to_text(answer);
    return 0;
  }
  std::vector<std::vector<std::string>> rows{{"FUNCTION", "RUNTIME", "MEMORY", "INVOCATIONS",
                                              "ERRORS", "COLD STARTS", "GB-SECONDS", "NOW"}};
  for (const Json& f : member(answer, "functions")) {
    const Json& now = member(f, "environments");
    const double warm = number_of(now, "idle") + number_of(now, "frozen");
    const double busy = number_of(now, "busy") + number_of(now, "starting");
    const double prepared = number_of(now, "prepared");
    rows.push_back({text_of(f, "name"), text_of(f, "runtime"),
                    fmt::format("{} MB", number_of(f, "memory_megabytes")),
                    fmt::format("{}", number_of(f, "invocations")),
                    fmt::format("{}", number_of(f, "errors")),
                    fmt::format("{}", number_of(f, "cold_starts")),
                    fmt::format("{:.3f}", number_of(f, "gigabyte_seconds")),
                    warm + busy + prepared == 0
                        ? "nothing runs"
                        : fmt::format("{} busy, {} warm, {} prepared", busy, warm, prepared)});
  }
  io.out << columns(rows);
  return 0;
}

int fn_logs(const Globals& globals, const FnOptions& options, Io& io) {
  auto response = call(
      options, request_for("GET", fmt::format("/leeward/functions/{}/log", options.name), nullptr),
      kCallTimeout);
  if (!response) return report(io, response.error());
  const Json answer = Json::parse(response->body, nullptr, false);
  if (globals.json) {
    io.out << to_text(answer);
    return 0;
  }
  for (const Json& line : member(answer, "lines"))
    if (line.is_string()) io.out << printable(line.get<std::string>()) << "\n";
  return 0;
}

int fn_delete(const Globals& globals, const FnOptions& options, Io& io) {
  auto response =
      call(options, request_for("DELETE", fmt::format("{}/{}", kFunctions, options.name), nullptr),
           kCallTimeout);
  if (!response) return report(io, response.error());
  if (globals.json)
    io.out << to_text(Json{{"deleted", options.name}});
  else
    io.out << "deleted " << printable(options.name) << "\n";
  return 0;
}

}  // namespace leeward::cli
