// Transformations, detectors and body parsers on benign values, ours and the library's in one run.
//
//   ./dev build release && taskset -c 0 build/release/bin/leeward-bench-waf-values
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "reference.h"
#include "waf/body_json.h"
#include "waf/body_multipart.h"
#include "waf/body_urlencoded.h"
#include "waf/body_xml.h"
#include "waf/detect_sqli.h"
#include "waf/detect_xss.h"
#include "waf/phrase_set.h"

extern "C" int libinjection_sqli(const char* value, std::size_t size, char fingerprint[]);
extern "C" int libinjection_xss(const char* value, std::size_t size);

namespace leeward::waf {
namespace {

const std::vector<std::string> kValues = {
    "en-GB,en;q=0.9",
    "The quick brown fox jumps over the lazy dog",
    "2026-11-29T12:00:00Z",
    "user@example.com",
    "42",
    "https://shop.example/films/science-fiction?page=2&sort=title",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "it's a nice day, isn't it?",
    "\xec\x95\x88\xeb\x85\x95\xed\x95\x98\xec\x84\xb8\xec\x9a\x94"};

std::size_t bytes_of_values() {
  std::size_t bytes = 0;
  for (const std::string& value : kValues) bytes += value.size();
  return bytes;
}

std::string json_body() {
  std::string body = "{\"items\":[";
  for (int i = 0; i < 20; ++i)
    body += std::string(i ? "," : "") + R"({"id":)" + std::to_string(1000 + i) +
            R"(,"title":"The quick brown fox","price":"12.50","tags":["new","sale"],"stock":true})";
  return body + "]}";
}

void transform(benchmark::State& state, Transform kind) {
  std::string value;
  for (auto _ : state)
    for (const std::string& input : kValues) {
      value = input;
      benchmark::DoNotOptimize(apply(kind, value));
    }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes_of_values()));
}

void transform_reference(benchmark::State& state, Transform kind) {
  const auto theirs = reference::transformation(kind);
  for (auto _ : state)
    for (const std::string& input : kValues)
      benchmark::DoNotOptimize(theirs->evaluate(input, nullptr));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes_of_values()));
}

void sqli(benchmark::State& state) {
  for (auto _ : state)
    for (const std::string& value : kValues) benchmark::DoNotOptimize(detect_sqli(value));
}
void sqli_reference(benchmark::State& state) {
  char fingerprint[8];
  for (auto _ : state)
    for (const std::string& value : kValues)
      benchmark::DoNotOptimize(libinjection_sqli(value.data(), value.size(), fingerprint));
}
void xss(benchmark::State& state) {
  for (auto _ : state)
    for (const std::string& value : kValues) benchmark::DoNotOptimize(detect_xss(value));
}
void xss_reference(benchmark::State& state) {
  for (auto _ : state)
    for (const std::string& value : kValues)
      benchmark::DoNotOptimize(libinjection_xss(value.data(), value.size()));
}

void json(benchmark::State& state) {
  const std::string body = json_body();
  FieldList fields;
  for (auto _ : state) {
    fields.clear();
    JsonBody parser(fields, {});
    parser.feed(body);
    benchmark::DoNotOptimize(parser.finish());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * body.size()));
}

void form(benchmark::State& state) {
  std::string body;
  for (int i = 0; i < 20; ++i)
    body += "name" + std::to_string(i) + "=The+quick+brown+fox%21+" + std::to_string(i) + "&";
  FieldList fields;
  for (auto _ : state) {
    fields.clear();
    benchmark::DoNotOptimize(parse_urlencoded(body, fields));
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * body.size()));
}

void multipart_file(benchmark::State& state) {
  std::string body = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n";
  for (int i = 0; i < 20'000; ++i) body += static_cast<char>(i * 7919 >> 3);
  body += "\r\n--B--\r\n";
  for (auto _ : state) {
    MultipartBody parser("multipart/form-data; boundary=B", {});
    parser.feed(body);
    benchmark::DoNotOptimize(parser.finish());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * body.size()));
}

void xml(benchmark::State& state) {
  std::string body = "<items>";
  for (int i = 0; i < 20; ++i)
    body += "<item id='" + std::to_string(i) + "'><title>The quick brown fox</title></item>";
  body += "</items>";
  for (auto _ : state) {
    XmlBody parser({});
    parser.feed(body);
    benchmark::DoNotOptimize(parser.finish());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * body.size()));
}

void phrases(benchmark::State& state) {
  std::vector<std::string> list;
  for (int i = 0; i < 1'000; ++i) list.push_back("phrase-" + std::to_string(i * 7919 % 10'007));
  const auto set = PhraseSet::make(list);
  for (auto _ : state)
    for (const std::string& value : kValues) benchmark::DoNotOptimize(set->first_match(value));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes_of_values()));
}

BENCHMARK(sqli);
BENCHMARK(sqli_reference);
BENCHMARK(xss);
BENCHMARK(xss_reference);
BENCHMARK(json);
BENCHMARK(form);
BENCHMARK(multipart_file);
BENCHMARK(xml);
BENCHMARK(phrases);

void register_transforms() {
  for (const Transform kind :
       {Transform::kLowercase, Transform::kUrlDecodeUni, Transform::kHtmlEntityDecode,
        Transform::kJsDecode, Transform::kCssDecode, Transform::kNormalizePath, Transform::kCmdLine,
        Transform::kCompressWhitespace, Transform::kRemoveNulls, Transform::kUtf8ToUnicode,
        Transform::kReplaceComments}) {
    benchmark::RegisterBenchmark(std::string(name(kind)).c_str(),
                                 [kind](benchmark::State& state) { transform(state, kind); });
    if (kind != Transform::kUrlDecodeUni)  // which asks its transaction for a map
      benchmark::RegisterBenchmark(
          (std::string(name(kind)) + "_reference").c_str(),
          [kind](benchmark::State& state) { transform_reference(state, kind); });
  }
}

}  // namespace
}  // namespace leeward::waf

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  leeward::waf::register_transforms();
  benchmark::RunSpecifiedBenchmarks();
}
