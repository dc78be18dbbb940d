// Requests to the control plane of the Lambda API, as a client could send them: each is answered,
// errors in the API's shape, and the registry that results can be saved and read again.
//
// An input is METHOD, a blank, the target, a line break, and the body.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/check.h"
#include "functions/function_service.h"
#include "functions/registry_json.h"

namespace {

using namespace leeward;
using namespace leeward::functions;

constexpr std::string_view kFunctionShapes[] = {"message", "Message"};

// A service with one function and nothing to run it by.
class Place {
 public:
  Place() {
    char name[] = "/tmp/leeward-api-fuzz-XXXXXX";
    directory_ = ::mkdtemp(name);
    FunctionServiceOptions options;
    options.state_directory = directory_;
    options.address = "http://127.0.0.1:9001";
    options.tools.adapter_executable = "/bin/false";
    options.host.sandbox_executable = "/bin/false";
    options.host.rule.environments_max = 0;
    options.host.queue_max = 0;  // an invocation is throttled at once
    auto opened = FunctionService::open(loop_, std::move(options));
    LEEWARD_CHECK(opened.has_value());
    service_ = std::move(*opened);
  }
  ~Place() {
    service_.reset();
    std::filesystem::remove_all(directory_);
  }

  net::HttpResponse ask(net::HttpRequest request) {
    if (!service_->registry().find("f")) {
      FunctionSettings settings;
      settings.runtime = "provided";
      settings.code_sha256 = std::string(64, 'a');
      LEEWARD_CHECK(service_->registry().create(WallTime{}, "f", settings).has_value());
    }
    net::HttpResponse answer;
    answer.status = 0;
    bool waits = false;  // a stop() before run() would be kept for it
    service_->handle(std::move(request), [&](net::HttpResponse response) {
      answer = std::move(response);
      if (waits) loop_.stop();
    });
    waits = true;
    if (answer.status == 0) loop_.run();  // an upload is unpacked on another thread
    return answer;
  }
  Registry& registry() { return service_->registry(); }

 private:
  net::EventLoop loop_;
  std::string directory_;
  std::unique_ptr<FunctionService> service_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Place place;  // a new one each time, so that an input shows the same again
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto end = std::min(text.find('\n'), text.size());
  const auto blank = text.substr(0, end).find(' ');
  if (blank == std::string_view::npos) return 0;
  net::HttpRequest request;
  request.method = std::string(text.substr(0, blank));
  request.target = std::string(text.substr(blank + 1, end - blank - 1));
  if (!request.target.starts_with('/')) return 0;
  const auto question = std::min(request.target.find('?'), request.target.size());
  request.path = request.target.substr(0, question);
  std::string_view query = std::string_view(request.target).substr(question);
  while (!query.empty()) {
    query.remove_prefix(1);
    const std::string_view one = query.substr(0, std::min(query.find('&'), query.size()));
    const auto equals = std::min(one.find('='), one.size());
    request.query[std::string(one.substr(0, equals))] =
        one.substr(std::min(equals + 1, one.size()));
    query.remove_prefix(one.size());
  }
  request.body = std::string(text.substr(std::min(end + 1, text.size())));
  const bool url = request.path.starts_with("/function-urls/");
  const net::HttpResponse response = place.ask(std::move(request));
  LEEWARD_CHECK(response.status >= 200 && response.status <= 599);
  if (response.status >= 400 && !url) {
    LEEWARD_CHECK(response.headers.contains("x-amzn-ErrorType"));
    const auto body = nlohmann::json::parse(response.body, nullptr, false);
    LEEWARD_CHECK(body.is_object());
    LEEWARD_CHECK(std::any_of(std::begin(kFunctionShapes), std::end(kFunctionShapes),
                              [&](std::string_view name) { return body.contains(name); }));
  }
  Registry again(RegistryRule{}, [] { return "x"; });
  LEEWARD_CHECK(load_registry(again, save_registry(place.registry())).has_value());
  return 0;
}
