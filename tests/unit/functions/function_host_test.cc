// Real handlers in real sandboxes, through the Runtime API.
#include "functions/function_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "functions/http_function.h"
#include "host_rig.h"

namespace leeward::functions {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(FunctionHost, RunsAPythonHandlerWarmTheSecondTime) {
  HostRig rig;
  const PoolId pool = rig.host->add(rig.python("echo", R"(
import os
count = 0
def handler(event, context):
    global count
    count += 1
    print("working on", context.aws_request_id)
    return {"event": event, "count": count, "version": context.function_version,
            "left": 0 < context.get_remaining_time_in_millis() <= 3000,
            "region": os.environ["AWS_LAMBDA_FUNCTION_NAME"]}
)"));
  EXPECT_EQ(rig.host->environments(), 0u);
  InvocationResult first = rig.invoke(pool, R"({"a":1})");
  EXPECT_EQ(first.end, InvocationEnd::kAnswered);
  EXPECT_EQ(first.payload, R"({"event": {"a": 1}, "count": 1, "version": "$LATEST", "left": true, )"
                           R"("region": "echo"})");
  EXPECT_GT(first.report.init, 0s);
  EXPECT_THAT(first.report.log_tail, HasSubstr("START RequestId: request-1 Version: $LATEST\n"));
  EXPECT_THAT(first.report.log_tail, HasSubstr("working on request-1\n"));
  EXPECT_THAT(first.report.log_tail,
              ContainsRegex("REPORT RequestId: request-1\tDuration: [0-9.]+ ms\tBilled Duration: "
                            "[0-9]+ ms\tMemory Size: 128 MB\tMax Memory Used: [0-9]+ MB\tInit "
                            "Duration: [0-9.]+ ms"));
  rig.run_until([&] { return rig.host->counts(pool).frozen == 1; });
  EXPECT_EQ(rig.host->counts(pool).frozen, 1u);
  InvocationResult second = rig.invoke(pool);
  EXPECT_THAT(second.payload, HasSubstr("\"count\": 2"));
  EXPECT_EQ(second.report.init, 0s);
  EXPECT_THAT(second.report.log_tail, Not(HasSubstr("Init Duration")));
  EXPECT_THAT(rig.log_of("echo"), ContainsRegex("Z working on request-2\n"));
  const Usage usage = rig.host->usage("echo");
  EXPECT_EQ(usage.invocations, 2u);
  EXPECT_EQ(usage.cold_starts, 1u);
  EXPECT_EQ(usage.megabyte_milliseconds, usage.billed_milliseconds * 128);
  EXPECT_GE(usage.billed_milliseconds, 2u);
}

TEST(FunctionHost, ReapsWhatIsIdleAndCostsNothing) {
  HostRig rig({.environments_max = 8, .starts_max = 4, .family_max = 4}, 10ms, 100ms);
  const PoolId pool = rig.host->add(rig.python("echo", "def handler(e, c): return e\n"));
  EXPECT_EQ(rig.invoke(pool, "7").payload, "7");
  rig.run_until([&] { return rig.host->environments() == 0; });
  EXPECT_EQ(rig.host->environments(), 0u);
  EXPECT_EQ(rig.invoke(pool, "8").payload, "8");
  EXPECT_EQ(rig.host->usage("echo").cold_starts, 2u);
}

TEST(FunctionHost, APreparedEnvironmentHasItsInitBehindItAndSharesNothing) {
  HostRig rig({.environments_max = 8, .starts_max = 4, .family_max = 4}, 10ms, 100ms, 1);
  const PoolId pool = rig.host->add(rig.python("slow", R"(
import os, random, time
time.sleep(0.3)
born, drawn = time.monotonic(), random.random()
def handler(event, context):
    left = os.path.exists("/tmp/left")
    open("/tmp/left", "w").close()
    return {"age": time.monotonic() - born, "drawn": drawn, "left": left}
)"));
  const InvocationResult first = rig.invoke(pool);
  ASSERT_EQ(first.end, InvocationEnd::kAnswered);
  EXPECT_GT(first.report.init, 300ms);
  auto at_rest = [&] {
    return rig.host->environments() == 1 && rig.host->counts(pool).prepared == 1;
  };
  rig.run_until(at_rest);
  ASSERT_TRUE(at_rest());
  std::set<std::string> answers{first.payload};
  for (int i = 0; i < 2; ++i) {
    const InvocationResult next = rig.invoke(pool);
    EXPECT_EQ(next.end, InvocationEnd::kAnswered);
    EXPECT_EQ(next.report.init, 0s);
    EXPECT_LT(next.report.duration, 300ms);  // its init was over
    EXPECT_THAT(next.payload, HasSubstr("\"left\": false"));
    EXPECT_TRUE(answers.insert(next.payload).second);
    rig.run_until(at_rest);
  }
  EXPECT_EQ(rig.host->usage("slow").cold_starts, 1u);
  EXPECT_EQ(rig.host->usage("slow").prepared_starts, 2u);
}

TEST(FunctionHost, TellsErrorsAsLambdaDoes) {
  HostRig rig;
  const PoolId pool = rig.host->add([&] {
    auto v = rig.python("bad", R"(
import os, signal, sys, time
def handler(event, context):
    if event == "raise": raise ValueError("no such product")
    if event == "exit": os._exit(3)
    if event == "quiet": os._exit(0)
    if event == "segv": os.kill(os.getpid(), signal.SIGSEGV)
    if event == "sleep": time.sleep(10)
    if event == "eat":
        held = []
        while True: held.append(bytearray(b"x" * (8 << 20)))
    if event == "large": return "x" * 6291556
    return event
)");
    v.timeout = 500ms;
    v.limits.memory_bytes = 64u << 20;
    return v;
  }());
  auto failed = [&](const std::string& event) {
    InvocationResult result = rig.invoke(pool, '"' + event + '"');
    EXPECT_EQ(result.end, InvocationEnd::kFunctionError) << event;
    return result.payload;
  };
  EXPECT_THAT(failed("raise"), AllOf(HasSubstr("\"errorMessage\": \"no such product\""),
                                     HasSubstr("\"errorType\": \"ValueError\""),
                                     HasSubstr("stackTrace"), HasSubstr("/var/task/app.py")));
  EXPECT_EQ(failed("exit"), R"({"errorMessage":"RequestId: request-2 Error: Runtime exited with )"
                            R"(error: exit status 3","errorType":"Runtime.ExitError"})");
  EXPECT_EQ(failed("quiet"), R"({"errorMessage":"RequestId: request-3 Error: Runtime exited )"
                             R"(without providing a reason","errorType":"Runtime.ExitError"})");
  EXPECT_EQ(failed("segv"),
            R"({"errorMessage":"RequestId: request-4 Error: Runtime exited with )"
            R"(error: signal: segmentation fault","errorType":"Runtime.ExitError"})");
  EXPECT_EQ(failed("sleep"), R"({"errorMessage":"RequestId: request-5 Error: Task timed out after )"
                             R"(0.50 seconds","errorType":"Sandbox.Timedout"})");
  if (rig.host->cgroups().kind() != CgroupKind::kNone) {
    EXPECT_EQ(failed("eat"), R"({"errorMessage":"RequestId: request-6 Error: Runtime exited with )"
                             R"(error: signal: killed","errorType":"Runtime.OutOfMemory"})");
  }
  EXPECT_THAT(failed("large"), HasSubstr("Function.ResponseSizeTooLarge"));
  // And after all that it works.
  EXPECT_EQ(rig.invoke(pool, R"("fine")").payload, R"("fine")");
}

TEST(FunctionHost, TellsInitErrors) {
  HostRig rig;
  const auto of = [&](const std::string& name, const std::string& code) {
    InvocationResult result = rig.invoke(rig.host->add(rig.python(name, code)));
    EXPECT_EQ(result.end, InvocationEnd::kFunctionError);
    return result.payload;
  };
  EXPECT_THAT(of("missing", "import nosuchmodule\n"),
              AllOf(HasSubstr("Unable to import module 'app': No module named 'nosuchmodule'"),
                    HasSubstr("Runtime.ImportModuleError")));
  EXPECT_THAT(of("syntax", "def handler(:\n"), HasSubstr("Runtime.UserCodeSyntaxError"));
  EXPECT_THAT(of("nameless", "x = 1\n"),
              AllOf(HasSubstr("Handler 'handler' missing on module 'app'"),
                    HasSubstr("Runtime.HandlerNotFound")));
  EXPECT_THAT(of("leaves", "import os\nos._exit(9)\n"),
              AllOf(HasSubstr("exit status 9"), HasSubstr("Runtime.ExitError")));
}

TEST(FunctionHost, AThousandFirstRequestsToAColdFunctionAllGetTheirAnswer) {
  HostRig rig;
  const PoolId pool = rig.host->add(rig.python("echo", "def handler(e, c): return e\n"));
  int answered = 0;
  for (int i = 0; i < 1000; ++i) {
    InvocationCaller caller;
    caller.done = [&, i](InvocationResult r) {
      EXPECT_EQ(r.payload, std::to_string(i));
      ++answered;
    };
    rig.host->invoke(pool, rig.next_invocation(std::to_string(i)), std::move(caller));
  }
  rig.run_until([&] { return answered == 1000; });
  EXPECT_EQ(answered, 1000);
  EXPECT_LE(rig.host->environments(), 4u);
}

// A runtime of our own making, which streams: what "provided" is for.
constexpr char kStreamingRuntime[] = R"(#!/usr/bin/python3 -u
import http.client, os
c = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
P = "/2018-06-01/runtime/invocation/"
while True:
    c.request("GET", P + "next")
    r = c.getresponse(); event = r.read().decode()
    c.putrequest("POST", P + r.headers["Lambda-Runtime-Aws-Request-Id"] + "/response")
    c.putheader("Content-Type", "text/plain")
    c.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    c.putheader("Transfer-Encoding", "chunked")
    c.putheader("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body")
    c.endheaders()
    for part in ("one ", "two ", "three"):
        c.send(b"%x\r\n%s\r\n" % (len(part), part.encode()))
    if event == '"fail"':
        c.send(b"0\r\nLambda-Runtime-Function-Error-Type: Stream.Broken\r\n\r\n")
    else:
        c.send(b"0\r\n\r\n")
    c.getresponse().read()
)";

TEST(FunctionHost, PassesAStreamOnAsItComes) {
  HostRig rig;
  const PoolId pool =
      rig.host->add(rig.version("stream", "bootstrap", kStreamingRuntime, "provided.al2023"));
  auto stream = [&](const std::string& payload, std::string& type, std::string& bytes) {
    InvocationResult result;
    bool done = false;
    InvocationCaller caller;
    caller.begin = [&](std::string_view t) { type = t; };
    caller.bytes = [&](std::string_view b) { bytes += b; };
    caller.done = [&](InvocationResult r) {
      result = std::move(r);
      done = true;
    };
    rig.host->invoke(pool, rig.next_invocation(payload), std::move(caller));
    rig.run_until([&] { return done; });
    return result;
  };
  std::string type, bytes;
  InvocationResult result = stream("{}", type, bytes);
  EXPECT_EQ(result.end, InvocationEnd::kAnswered);
  EXPECT_EQ(type, "text/plain");
  EXPECT_EQ(bytes, "one two three");
  EXPECT_EQ(result.payload, "");
  bytes.clear();
  result = stream("\"fail\"", type, bytes);
  EXPECT_EQ(bytes, "one two three");
  EXPECT_EQ(result.end, InvocationEnd::kFunctionError);
  EXPECT_THAT(result.payload, HasSubstr("Stream.Broken"));
  // Whoever wants it whole gets it whole.
  result = rig.invoke(pool);
  EXPECT_EQ(result.payload, "one two three");
  EXPECT_EQ(result.content_type, "text/plain");
}

TEST(FunctionHost, ReachesWhatItIsGrantedAndNothingElse) {
  HostRig rig;
  // Two servers of the host; one is granted.
  std::vector<std::unique_ptr<net::HttpServer>> servers;
  for (const char* text : {"granted", "secret"}) {
    auto server = net::HttpServer::start(rig.loop, Endpoint{"127.0.0.1", 0},
                                         [text](net::HttpRequest, net::Responder respond) {
                                           net::HttpResponse response;
                                           response.body = std::string(100'000, text[0]);
                                           respond(std::move(response));
                                         });
    ASSERT_TRUE(server);
    servers.push_back(std::move(*server));
  }
  FunctionVersion v = rig.python("client", R"(
import urllib.request
def handler(event, context):
    try:
        with urllib.request.urlopen(event, timeout=2) as r: return str(len(r.read()))
    except OSError as e:
        return "refused"
)");
  v.grants.emplace_back(servers[0]->local());
  const PoolId pool = rig.host->add(v);
  auto fetch = [&](const Endpoint& at) {
    return rig.invoke(pool, fmt::format("\"http://{}/\"", to_string(at))).payload;
  };
  EXPECT_EQ(fetch(servers[0]->local()), "\"100000\"");
  EXPECT_EQ(fetch(servers[0]->local()), "\"100000\"");
  EXPECT_EQ(fetch(servers[1]->local()), "\"refused\"");
}

TEST(HttpFunction, ChecksDoNotWakeItAndRequestsDo) {
  HostRig rig({.environments_max = 8, .starts_max = 4, .family_max = 4}, 10ms, 200ms);
  FunctionVersion v = rig.version("web", "app.py", R"(
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{self.path} {self.headers['X-Who']} {os.environ['COLOUR']}".encode()
        self.send_response(200 if self.path != "/none" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
)",
                                  "provided");
  v.runtime = "http";
  v.argv = {"/usr/bin/python3", "app.py"};
  v.environment["COLOUR"] = "blue";
  ASSERT_TRUE(
      apply_runtime(v, {.adapter_executable = LEEWARD_HTTP_ADAPTER, .node_client_folder = ""}));
  HttpFunctionOptions options;
  options.listen = {"127.0.0.1", 0};
  options.version = v;
  options.idle_paths = {"/livez"};
  auto function = HttpFunction::start(rig.loop, *rig.host, std::move(options));
  ASSERT_TRUE(function) << function.error().message;
  net::HttpClient client(rig.loop);
  auto get = [&](const std::string& path) {
    net::HttpRequest request;
    request.path = path;
    request.headers["X-Who"] = "test";
    net::HttpResponse answer;
    answer.status = 0;
    client.send((*function)->local(), request, 20s, [&](Result<net::HttpResponse> result) {
      if (result) answer = *result;
    });
    rig.run_until([&] { return answer.status != 0; });
    return fmt::format("{} {}", answer.status, answer.body);
  };
  EXPECT_EQ(get("/livez"), R"(200 {"status":"cold"})");
  EXPECT_EQ(rig.host->environments(), 0u);
  EXPECT_EQ(get("/order"), "200 /order test blue");
  EXPECT_EQ(rig.host->environments(), 1u);
  EXPECT_EQ(get("/livez"), "200 /livez test blue");  // it runs: the application says how it is
  EXPECT_EQ(get("/none"), "404 /none test blue");
  rig.run_until([&] { return rig.host->environments() == 0; });
  EXPECT_EQ(get("/livez"), R"(200 {"status":"cold"})");
  EXPECT_EQ(rig.host->environments(), 0u);
}

TEST(FunctionHost, ARuntimeThatBreaksTheRulesIsTold) {
  HostRig rig;
  const PoolId pool = rig.host->add(rig.version("rude", "bootstrap", R"(#!/usr/bin/python3 -u
import http.client, os
c = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
P = "/2018-06-01/runtime/"
def call(method, path, body=None):
    c.request(method, P + path, body)
    r = c.getresponse(); text = r.read().decode()
    return r, f"{r.status} {text}"
while True:
    r, _ = call("GET", "invocation/next")
    id = r.headers["Lambda-Runtime-Aws-Request-Id"]
    said = [call("GET", "invocation/next")[1], call("POST", "invocation/other/response", "x")[1],
            call("POST", "init/error", "{}")[1], call("GET", "nonsense")[1]]
    print("\n".join(said), flush=True)
    call("POST", f"invocation/{id}/response", '"done"')
    print(call("POST", f"invocation/{id}/response", '"twice"')[1], flush=True)
)",
                                                "provided"));
  EXPECT_EQ(rig.invoke(pool).payload, "\"done\"");
  EXPECT_EQ(rig.invoke(pool).payload, "\"done\"");
  const std::string log = rig.log_of("rude");
  EXPECT_THAT(log, HasSubstr("403 {\"errorMessage\":\"the invocation under way"));
  EXPECT_THAT(log, HasSubstr("400 {\"errorMessage\":\"Invalid request ID\""));
  EXPECT_THAT(log, HasSubstr("403 {\"errorMessage\":\"init is over\""));
  EXPECT_THAT(log, HasSubstr("404 "));
}

// Posts what it likes on as many connections as it likes. "100 Continue" says that the host has
// seen a head.
constexpr char kGreedyRuntime[] = R"(#!/usr/bin/python3 -u
import http.client, os, socket
API = os.environ["AWS_LAMBDA_RUNTIME_API"]
P = "/2018-06-01/runtime/"
MB = b"x" * (1 << 20)
STREAMED = "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
api = http.client.HTTPConnection(API)
def connect():
    host, port = API.split(":")
    return socket.create_connection((host, int(port)))
def begin(path, length, more=""):
    s = connect()
    s.sendall(f"POST {P}{path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{more}"
              f"Content-Length: {length}\r\n\r\n".encode())
    assert s.recv(4096).startswith(b"HTTP/1.1 100")
    return s
def say(what, s):
    print(what, s.recv(4096).split(b" ")[1].decode())
while True:
    api.request("GET", P + "invocation/next")
    r = api.getresponse(); event = r.read()
    mine = "invocation/" + r.headers["Lambda-Runtime-Aws-Request-Id"] + "/"
    if event == b'"greedy"':
        first = begin(mine + "response", 6 << 20)
        held = [begin(path, 7 << 20) for path in
                (mine + "response", mine + "error", "init/error", "nonsense") * 4]
        for s in held:
            for _ in range(6): s.sendall(MB)
        for what, path, more in (("rival", mine + "response", ""), ("error", mine + "error", ""),
                                 ("stream", mine + "response", STREAMED),
                                 ("other", "invocation/other/response", ""),
                                 ("init", "init/error", ""), ("nonsense", "nonsense", "")):
            s = begin(path, 1 << 20, more)
            s.sendall(MB)
            say(what, s)
        for _ in range(6): first.sendall(MB)
        say("first", first)
        continue
    if event == b'"many"':
        more = []
        while len(more) < 40:
            s = connect()
            try:
                s.sendall(b"GET /nonsense HTTP/1.1\r\nHost: x\r\n\r\n")
                if not s.recv(4096).startswith(b"HTTP/1.1 404"): break
            except OSError:
                break
            more.append(s)
        print("connections", 1 + len(more))
    body = MB * 7 if event == b'"large"' else event
    api.request("POST", P + mine + "response", body)
    r = api.getresponse(); r.read()
    print("posted", r.status)
)";

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(FunctionHost, CodeCannotMakeTheHostHoldMoreThanAPayload) {
  HostRig rig;
  FunctionVersion v = rig.version("greedy", "bootstrap", kGreedyRuntime, "provided");
  v.timeout = 30s;
  const PoolId pool = rig.host->add(std::move(v));
  EXPECT_EQ(rig.invoke(pool, "\"warm\"").payload, "\"warm\"");
  const std::size_t before = resident_bytes();
  // The first response counts, however much else is under way.
  const InvocationResult result = rig.invoke(pool, "\"greedy\"");
  EXPECT_LT(resident_bytes(), before + (64u << 20)) << "96 MiB were sent in bodies that go on";
  EXPECT_EQ(result.end, InvocationEnd::kAnswered);
  EXPECT_TRUE(result.payload == std::string(6u << 20, 'x')) << result.payload.size();
  const std::string log = rig.log_of("greedy");
  for (const char* line : {"Z rival 403\n", "Z error 403\n", "Z stream 403\n", "Z other 400\n",
                           "Z init 403\n", "Z nonsense 404\n"})
    EXPECT_THAT(log, HasSubstr(line));
  // A response that is too large is read to its end, and answered as AWS does.
  const InvocationResult large = rig.invoke(pool, "\"large\"");
  EXPECT_EQ(large.end, InvocationEnd::kFunctionError);
  EXPECT_EQ(large.payload, R"({"errorMessage":"Response payload size exceeded maximum allowed )"
                           R"(payload size (6291556 bytes).",)"
                           R"("errorType":"Function.ResponseSizeTooLarge"})");
  auto told = [&] { return rig.log_of("greedy").find("Z posted 413\n") != std::string::npos; };
  rig.run_until(told);
  EXPECT_TRUE(told());
  EXPECT_EQ(rig.invoke(pool, "\"fine\"").payload, "\"fine\"");
}

TEST(FunctionHost, AnEnvironmentHasSoManyConnectionsAndNoMore) {
  HostRig rig;
  const PoolId pool = rig.host->add(rig.version("many", "bootstrap", kGreedyRuntime, "provided"));
  EXPECT_EQ(rig.invoke(pool, "\"many\"").payload, "\"many\"");
  EXPECT_THAT(rig.log_of("many"), HasSubstr("Z connections 32\n"));
}

}  // namespace
}  // namespace leeward::functions
