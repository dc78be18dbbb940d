// speed: how long a page takes straight from its origin and through the edge, a new connection each
// time, in turn, so that what the network does meanwhile hits both alike.
#include <curl/curl.h>

#include <memory>
#include <mutex>

#include "cli/internal/commands.h"
#include "cli/internal/comparison.h"
#include "cli/internal/edge_view.h"
#include "cli/internal/terminal.h"
#include "model/edge.h"

namespace leeward::cli {
namespace {

// Where a way goes, whatever the URL's host is.
struct Place {
  std::string scheme;     // empty: that of the URL
  std::string host_port;  // empty: those of the URL
};

Result<Place> parse_place(const std::string& text) {
  Place place;
  std::string rest = text;
  for (const char* scheme : {"http", "https"})
    if (const std::string begin = fmt::format("{}://", scheme); text.starts_with(begin)) {
      place.scheme = scheme;
      rest = text.substr(begin.size());
    }
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == rest.size() ||
      rest.find('/') != std::string::npos)
    return fail(Code::kInvalid, "'{}': write HOST:PORT or http://HOST:PORT", text);
  place.host_port = rest;
  return place;
}

struct Free {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

std::size_t on_body(char*, std::size_t size, std::size_t count, void* sample) {
  static_cast<SpeedSample*>(sample)->bytes += size * count;
  return size * count;
}

std::size_t on_field(char* data, std::size_t size, std::size_t count, void* sample) {
  constexpr std::string_view kName = "cache-status:";
  const std::string_view line(data, size * count);
  if (line.size() > kName.size() && curl_strnequal(line.data(), kName.data(), kName.size()) != 0) {
    const std::string_view value =
        line.substr(std::min(line.find_first_not_of(' ', kName.size()), line.size()));
    static_cast<SpeedSample*>(sample)->cache_status =
        printable(value.substr(0, value.find_first_of("\r\n")));
  }
  return size * count;
}

// A GET over a connection of its own, read to its end. Adds to `sample`.
Status fetch(const std::string& url, const Place& place, const SpeedOptions& options,
             SpeedSample& sample) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  std::unique_ptr<CURL, Free> easy(curl_easy_init());
  if (!easy) return fail(Code::kInternal, "out of memory");
  const std::size_t end_of_scheme = url.find("://");
  const std::string asked = place.scheme.empty() || end_of_scheme == std::string::npos
                                ? url
                                : place.scheme + url.substr(end_of_scheme);
  char why[CURL_ERROR_SIZE] = "";
  std::unique_ptr<curl_slist, Free> connect_to;
  if (!place.host_port.empty())
    connect_to.reset(curl_slist_append(nullptr, fmt::format("::{}", place.host_port).c_str()));
  sample.bytes = 0;
  CURL* c = easy.get();
  curl_easy_setopt(c, CURLOPT_URL, asked.c_str());
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(c, CURLOPT_CONNECT_TO, connect_to.get());
  curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, static_cast<long>(options.timeout / 1ms));
  curl_easy_setopt(c, CURLOPT_USERAGENT, "leeward-speed");
  curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, &sample);
  curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_field);
  curl_easy_setopt(c, CURLOPT_HEADERDATA, &sample);
  if (!options.ca.empty()) curl_easy_setopt(c, CURLOPT_CAINFO, options.ca.c_str());
  if (const CURLcode code = curl_easy_perform(c); code != CURLE_OK)
    return fail(code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ? Code::kInvalid
                : code == CURLE_OPERATION_TIMEDOUT                                ? Code::kTimeout
                                                   : Code::kUnavailable,
                "{}", *why != '\0' ? why : curl_easy_strerror(code));
  curl_off_t first_byte = 0, total = 0;
  long status = 0;
  curl_easy_getinfo(c, CURLINFO_STARTTRANSFER_TIME_T, &first_byte);
  curl_easy_getinfo(c, CURLINFO_TOTAL_TIME_T, &total);
  curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
  sample.first_byte.push_back(seconds(std::chrono::microseconds(first_byte)));
  sample.seconds.push_back(seconds(std::chrono::microseconds(total)));
  sample.status = static_cast<int>(status);
  return {};
}

// Where requests of clients arrive at the edge of the site that is primary by configuration.
Result<std::string> configured_edge(const Globals& globals, bool tls, Io& io) {
  auto platform = load_platform(globals, io);
  if (!platform) return fail(std::move(platform.error()));
  if (platform->edge)
    for (const EdgeListener& l : platform->edge->listeners)
      if (l.tls == tls && !l.proxy_protocol)
        return fmt::format("{}:{}",
                           l.address == "{address}" || l.address == "0.0.0.0"
                               ? platform->site(platform->configured_primary()).address
                               : l.address,
                           l.port);
  return fail(Code::kInvalid, "{} has no edge with a listener {} TLS; name one with --edge",
              globals.config_path, tls ? "with" : "without");
}

Json to_json(const std::string& url, const std::vector<SpeedSample>& samples) {
  Json json{{"url", url}};
  for (const SpeedSample& s : samples) {
    const SpeedSummary t = summary_of(s.seconds);
    json[s.way] = {{"requests", s.seconds.size()},
                   {"status", s.status},
                   {"bytes", s.bytes},
                   {"first_byte_median", summary_of(s.first_byte).median},
                   {"min", t.min},
                   {"mean", t.mean},
                   {"median", t.median},
                   {"p95", t.p95},
                   {"max", t.max},
                   {"cache_status", s.cache_status}};
  }
  json["mean_percent_lower"] =
      percent_lower(summary_of(samples[0].seconds).mean, summary_of(samples[1].seconds).mean);
  return json;
}

}  // namespace

int speed(const Globals& globals, const SpeedOptions& options, Io& io) {
  std::string edge_text = options.edge;
  if (edge_text.empty()) {
    auto configured = configured_edge(globals, options.urls.front().starts_with("https:"), io);
    if (!configured) return report(io, configured.error());
    edge_text = *configured;
  }
  auto edge = parse_place(edge_text);
  if (!edge) return report(io, edge.error());
  Place direct;
  if (!options.direct.empty()) {
    auto named = parse_place(options.direct);
    if (!named) return report(io, named.error());
    direct = *named;
  }
  Json all = Json::array();
  for (const std::string& url : options.urls) {
    std::vector<SpeedSample> samples(2);
    samples[0].way = "direct";
    samples[1].way = "edge";
    for (int i = 0; i < options.count; ++i) {
      if (auto done = fetch(url, direct, options, samples[0]); !done)
        return report(io, Error(done.error()).wrap(url + " direct"));
      if (auto done = fetch(url, *edge, options, samples[1]); !done)
        return report(io, Error(done.error()).wrap(url + " through the edge at " + edge_text));
      if (io.interactive)
        io.err << fmt::format("\r\033[K{}: {} of {}", printable(url), i + 1, options.count)
               << std::flush;
    }
    end_progress(io);
    if (globals.json)
      all.push_back(to_json(url, samples));
    else
      io.out << render_speed(printable(url), samples) << "\n";
  }
  if (globals.json) io.out << to_text({{"edge", edge_text}, {"urls", all}});
  return 0;
}

}  // namespace leeward::cli
