// The web application firewall: the engine for SecLang, the threads that run it, and a whole edge
// that asks it.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "edge/edge.h"
#include "edge/seclang_engine.h"
#include "edge/waf_pool.h"
#include "loopback.h"

namespace leeward::edge {
namespace {

constexpr const char* kRules = R"(
SecRule REQUEST_HEADERS:Content-Type "@rx ^application/json" \
    "id:10,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:X-Quiet "@streq yes" "id:20,phase:1,deny,status:406,nolog"
SecRule ARGS:to "@streq away" "id:30,phase:2,redirect:https://shop.test/away,log,msg:'moved'"
SecRule ARGS:note "@streq odd" "id:40,phase:2,pass,log,msg:'odd'"
SecRule ARGS "@detectSQLi" "id:942100,phase:2,deny,status:403,log,msg:'SQL injection'"
)";
constexpr const char* kForm = "application/x-www-form-urlencoded";
constexpr const char* kAttack = "/?id=1%27%20or%20%271%27=%271";

class Directory {
 public:
  Directory() {
    char name[] = "/tmp/leeward-waf-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ + "/" + name) << text;
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

InspectedRequest get(std::string target) {
  InspectedRequest request;
  request.method = "GET";
  request.target = std::move(target);
  request.protocol = "1.1";
  request.host = "shop.test";
  request.fields = {{"Host", "shop.test"}};
  return request;
}

InspectedRequest post(std::string type, std::string body) {
  InspectedRequest request = get("/");
  request.method = "POST";
  request.fields.emplace_back("Content-Type", std::move(type));
  request.fields.emplace_back("Content-Length", fmt::format("{}", body.size()));
  request.body_inspected = body.size();
  request.body = std::move(body);
  return request;
}

// ---- the engine

class Rules : public ::testing::Test {
 protected:
  std::shared_ptr<const SecLangEngine> load(const std::string& text = kRules) {
    EdgeWaf settings;
    settings.rules_file = directory_.write("rules.conf", text);
    auto engine = SecLangEngine::load(settings);
    if (!engine) ADD_FAILURE() << engine.error().message;
    return *engine;
  }
  std::string error_of(const std::string& text) {
    EdgeWaf settings;
    settings.rules_file = directory_.write("bad.conf", text);
    auto engine = SecLangEngine::load(settings);
    return engine ? "none" : engine.error().message;
  }
  Directory directory_;
};

using Kind = WafVerdict::Kind;

TEST_F(Rules, RefuseAnInjectionInTheQueryAndNameTheRule) {
  auto engine = load();
  const WafVerdict verdict = engine->inspect(get(kAttack));
  EXPECT_EQ(verdict.kind, Kind::kBlock);
  EXPECT_EQ(verdict.status, 403);
  EXPECT_EQ(verdict.decisive.rule, "942100");
  EXPECT_EQ(verdict.decisive.message, "SQL injection");
  EXPECT_EQ(engine->inspect(get("/?id=17")).kind, Kind::kPass);
}

TEST_F(Rules, RefuseAnInjectionInAFormAndInJson) {
  auto engine = load();
  EXPECT_EQ(engine->inspect(post(kForm, "id=1%27+or+%271%27%3D%271")).kind, Kind::kBlock);
  EXPECT_EQ(engine->inspect(post(kForm, "id=17&name=O%27Neill")).kind, Kind::kPass);
  const char* json = "application/json";
  EXPECT_EQ(engine->inspect(post(json, R"({"user":{"id":"1' or '1'='1"}})")).kind, Kind::kBlock);
  EXPECT_EQ(engine->inspect(post(json, R"({"user":{"id":"17"}})")).kind, Kind::kPass);
}

TEST_F(Rules, AreNamedAlsoWhenTheyDoNotLog) {
  InspectedRequest request = get("/");
  request.fields.emplace_back("X-Quiet", "yes");
  const WafVerdict verdict = load()->inspect(request);
  EXPECT_EQ(verdict.kind, Kind::kBlock);
  EXPECT_EQ(verdict.status, 406);
  EXPECT_EQ(verdict.decisive.rule, "20");
}

TEST_F(Rules, RedirectAndReportWhatPasses) {
  auto engine = load();
  const WafVerdict away = engine->inspect(get("/?to=away"));
  EXPECT_EQ(away.kind, Kind::kBlock);
  EXPECT_EQ(away.status, 302);
  EXPECT_EQ(away.location, "https://shop.test/away");
  const WafVerdict odd = engine->inspect(get("/?note=odd"));
  EXPECT_EQ(odd.kind, Kind::kPass);
  ASSERT_EQ(odd.matches.size(), 1u);
  EXPECT_EQ(odd.matches[0].rule, "40");
}

// CRS 932200 ends its chain in MATCHED_VAR, 931130 in what it has kept in TX.
TEST_F(Rules, TellNoSecretUnderAnotherName) {
  auto engine = load(R"rules(
SecRule ARGS "@contains $a" "id:1,phase:2,pass,log,t:none,t:lowercase,chain"
  SecRule MATCHED_VAR "@contains /" "t:none,chain"
    SecRule MATCHED_VAR "@contains y" "t:none"
SecRule ARGS "@contains /" "id:2,phase:2,pass,log,chain"
  SecRule MATCHED_VARS "@contains y" "t:none"
SecRule ARGS "@rx ^(..)(.*)" "id:3,phase:2,pass,log,capture,chain"
  SecRule TX:2 "@contains /" "t:none"
SecRule ARGS "@rx ^(.*)" "id:4,phase:2,pass,log,capture,setvar:'tx.kept=%{tx.1}',chain"
  SecRule TX:kept "@contains /" "t:none"
)rules");
  const WafVerdict secret = engine->inspect(post(kForm, "password=P$a+/x+y"));
  ASSERT_EQ(secret.matches.size(), 4u);
  for (const RuleMatch& match : secret.matches) EXPECT_EQ(match.value, "***") << match.rule;
  EXPECT_EQ(secret.matches[0].variable, "MATCHED_VAR") << "as rules see it";
  const WafVerdict open = engine->inspect(post(kForm, "note=P$a+/x+y"));
  ASSERT_EQ(open.matches.size(), 4u);
  for (const RuleMatch& match : open.matches)
    EXPECT_NE(match.value.find("a /x y"), std::string::npos) << match.rule;
}

TEST_F(Rules, SeeNoMoreOfABodyThanTheyMay) {
  InspectedRequest request =
      post(kForm, "pad=" + std::string(2000, 'x') + "&id=1%27+or+%271%27%3D%271");
  EXPECT_EQ(load()->inspect(request).kind, Kind::kBlock);
  request.body_inspected = 1024;
  EXPECT_EQ(load()->inspect(request).kind, Kind::kPass);
}

TEST_F(Rules, AreOverruledInWhatTheConfigurationSays) {
  auto engine =
      load(std::string(kRules) + "SecRuleEngine DetectionOnly\nSecRequestBodyAccess Off\n");
  EXPECT_EQ(engine->inspect(post(kForm, "id=1%27+or+%271%27%3D%271")).kind, Kind::kBlock);
}

TEST_F(Rules, ThatCannotBeReadAreNamedWithTheirPlace) {
  EXPECT_NE(error_of("\nSecFoo On\n").find("bad.conf:2:"), std::string::npos)
      << error_of("\nSecFoo On\n");
  EXPECT_NE(error_of("Include nowhere.conf\n").find("bad.conf:1:"), std::string::npos);
  const std::string twice =
      error_of("SecRule ARGS \"@rx a\" \"id:1,deny\"\nSecRule ARGS \"@rx b\" \"id:1,deny\"\n");
  EXPECT_NE(twice.find("bad.conf:2:1: Rule id: 1 is duplicated"), std::string::npos) << twice;
  EXPECT_NE(error_of("# nothing\n").find("there is no rule in it"), std::string::npos);
  EdgeWaf settings;
  settings.rules_file = "/nowhere/rules.conf";
  EXPECT_EQ(SecLangEngine::load(settings).error().code, Code::kNotFound);
}

TEST_F(Rules, AreReplacedWhileTheOldOnesAreStillAsked) {
  auto old = load();
  EdgeWaf settings;
  settings.rules_file =
      directory_.write("new.conf", "SecAction \"id:1,phase:1,deny,status:451\"\n");
  auto fresh = SecLangEngine::load(settings, {}, old.get());
  ASSERT_TRUE(fresh);
  EXPECT_EQ((*fresh)->inspect(get("/")).status, 451);
  EXPECT_EQ(old->inspect(get("/")).kind, Kind::kPass);
  fresh = {};
  EXPECT_EQ(old->inspect(get(kAttack)).kind, Kind::kBlock);
}

// Phase 1 runs again for a response: what it sets is there, and nothing is counted twice.
TEST_F(Rules, CountARequestOnceAlthoughItsAnswerIsInspectedToo) {
  auto engine = load(R"(
SecResponseBodyAccess On
SecAction "id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR}"
SecAction "id:4,phase:1,pass,nolog,setvar:ip.asked=+1,setvar:tx.leak=secret"
SecRule IP:asked "@gt 3" "id:2,phase:1,deny,status:429,log,msg:'too often'"
SecRule RESPONSE_BODY "@contains %{tx.leak}" "id:3,phase:4,deny,status:502,log,msg:'leak'"
)");
  const InspectedRequest request = get("/");
  const InspectedResponse leak{.status = 200,
                               .protocol = "1.1",
                               .fields = {{"Content-Type", "text/html"}},
                               .body = "a secret"};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(engine->inspect(request).kind, Kind::kPass) << i;
    EXPECT_EQ(engine->inspect_response(request, leak).decisive.rule, "3") << i;
  }
  EXPECT_EQ(engine->inspect(request).decisive.rule, "2");
  // Meanwhile the client is above its limit: an answer to what was let pass is looked at all the
  // same.
  const WafVerdict late = engine->inspect_response(request, leak);
  EXPECT_EQ(late.status, 502);
  EXPECT_EQ(late.decisive.rule, "3");
}

TEST_F(Rules, AnswerAtOnceForSmallRequestsOnly) {
  auto engine = load();
  const auto small = engine->inspect_at_once(get(kAttack));
  ASSERT_TRUE(small);
  EXPECT_EQ(small->kind, Kind::kBlock);
  EXPECT_FALSE(engine->inspect_at_once(post(kForm, "pad=" + std::string(5000, 'x'))));
  InspectedRequest large = get("/");
  large.fields.emplace_back("X-Pad", std::string(2100, 'x'));
  EXPECT_FALSE(engine->inspect_at_once(large));
}

TEST_F(Rules, AreAskedByManyThreadsAtOnce) {
  auto engine = load();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        wrong += engine->inspect(get(kAttack)).kind != Kind::kBlock;
        wrong += engine->inspect(post(kForm, "id=17")).kind != Kind::kPass;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// ---- an engine that waits until it is told

class GatedEngine final : public InspectionEngine {
 public:
  ~GatedEngine() override { open(); }
  WafVerdict inspect(const InspectedRequest& request) const override {
    std::unique_lock lock(mutex_);
    ++begun_;
    nice_ = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()));
    changed_.notify_all();
    if (request.target != "/free") changed_.wait(lock, [&] { return open_; });
    return {};
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool wait_for(int begun) const {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return begun_ >= begun; });
  }
  int begun() const {
    std::lock_guard lock(mutex_);
    return begun_;
  }
  int nice() const {  // of the thread that began last
    std::lock_guard lock(mutex_);
    return nice_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable int begun_ = 0, nice_ = 0;
  bool open_ = false;
};

class Ear final : public Wakeup {
 public:
  void wake(std::uint64_t token) override {
    std::lock_guard lock(mutex_);
    heard_.push_back(token);
    changed_.notify_all();
  }
  bool wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20),
                             [&] { return heard_.size() >= count; });
  }
  std::size_t count() {
    std::lock_guard lock(mutex_);
    return heard_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::uint64_t> heard_;
};

ClientAddress from(const std::string& address) { return *parse_client_address(address); }

class Pool : public ::testing::Test {
 protected:
  std::shared_ptr<Inspection> make(InspectedRequest request) {
    return std::make_shared<Inspection>(engine_, std::move(request));
  }
  // Small, and taken for large because of what may be in it.
  std::shared_ptr<Inspection> coded(const ClientAddress& client = {}) {
    InspectedRequest request = post("text/plain", "packed");
    request.body_coded = true;
    request.client = client;
    return make(std::move(request));
  }
  static bool shows(const WafPool& pool, const std::string& line) {
    return pool.prometheus_text().find(line + "\n") != std::string::npos;
  }
  std::shared_ptr<GatedEngine> engine_ = std::make_shared<GatedEngine>();
  Ear ear_;
  EdgeWaf settings_;
};

TEST_F(Pool, KeepsThreadsForSmallRequestsWhileLargeBodiesAreInspected) {
  WafPool pool(2, Logger());
  for (std::uint64_t i = 0; i < 4; ++i)
    ASSERT_TRUE(
        pool.submit(make(post("text/plain", std::string(1 << 20, 'x'))), {&ear_, i}, settings_));
  ASSERT_TRUE(engine_->wait_for(1));
  auto small = make(get("/free"));
  ASSERT_TRUE(pool.submit(small, {&ear_, 9}, settings_));
  ASSERT_TRUE(ear_.wait_for(1));
  ASSERT_NE(small->verdict(), nullptr);
  EXPECT_EQ(engine_->begun(), 2);  // one large body, whose verdict is not there, and the small one
  engine_->open();
  EXPECT_TRUE(ear_.wait_for(5));
}

TEST_F(Pool, GivesWayToTheLoops) {
  WafPool pool(2, Logger());
  const int mine = ::getpriority(PRIO_PROCESS, 0);
  for (std::size_t size : {std::size_t{0}, std::size_t{1} << 20}) {
    InspectedRequest request = post("text/plain", std::string(size, 'x'));
    request.target = "/free";
    ASSERT_TRUE(pool.submit(make(std::move(request)), {&ear_, size}, settings_));
    ASSERT_TRUE(ear_.wait_for(size == 0 ? 1 : 2));
    EXPECT_EQ(engine_->nice(), std::min(mine + 15, 19));
  }
}

TEST_F(Pool, TurnsAwayWhatFindsNoRoom) {
  settings_.queue_max = 1;
  WafPool pool(2, Logger());
  ASSERT_TRUE(
      pool.submit(make(post("text/plain", std::string(1 << 20, 'x'))), {&ear_, 1}, settings_));
  ASSERT_TRUE(engine_->wait_for(1));
  ASSERT_TRUE(pool.submit(coded(), {&ear_, 2}, settings_));
  auto third = coded();
  EXPECT_FALSE(pool.submit(third, {&ear_, 3}, settings_));
  EXPECT_EQ(third->take_body(), "packed");
  // What is large, or may be, takes no place of what is small.
  ASSERT_TRUE(pool.submit(make(get("/free")), {&ear_, 4}, settings_));
  EXPECT_TRUE(ear_.wait_for(1));
  engine_->open();
  EXPECT_TRUE(ear_.wait_for(3));
}

TEST_F(Pool, LetsNoNetworkHoldMoreThanItLeavesFree) {
  settings_.held_bytes_max = 100;
  WafPool pool(2, Logger());
  const ClientAddress one = from("192.0.2.1"), neighbour = from("192.0.2.9"),
                      other = from("198.51.100.1");
  EXPECT_TRUE(pool.hold(one, 40, settings_));
  EXPECT_TRUE(pool.hold(neighbour, 10, settings_));
  EXPECT_FALSE(pool.holds_much(settings_));
  EXPECT_FALSE(pool.hold(neighbour, 1, settings_));  // they have a half already
  EXPECT_TRUE(pool.hold(other, 25, settings_));
  EXPECT_TRUE(pool.holds_much(settings_));
  EXPECT_FALSE(pool.hold(other, 1, settings_));
  EXPECT_TRUE(shows(pool, "leeward_waf_held_bytes 75"));
  pool.release(one, 40);
  EXPECT_TRUE(pool.hold(other, 1, settings_));
  pool.release(neighbour, 10);
  pool.release(other, 26);
  EXPECT_TRUE(shows(pool, "leeward_waf_held_bytes 0"));
}

TEST_F(Pool, LetsNoNetworkHaveMorePlacesThanItLeavesFree) {
  settings_.queue_max = 4;
  WafPool pool(2, Logger());
  const ClientAddress one = from("2001:db8::1"), neighbour = from("2001:db8::2"),
                      other = from("2001:db8:0:1::1");
  ASSERT_TRUE(pool.submit(coded(other), {&ear_, 1}, settings_));
  ASSERT_TRUE(engine_->wait_for(1));  // it waits no more
  EXPECT_TRUE(pool.submit(coded(one), {&ear_, 2}, settings_));
  EXPECT_TRUE(pool.submit(coded(neighbour), {&ear_, 3}, settings_));
  EXPECT_FALSE(pool.submit(coded(one), {&ear_, 4}, settings_));
  EXPECT_TRUE(pool.submit(coded(other), {&ear_, 5}, settings_));
  engine_->open();
  EXPECT_TRUE(ear_.wait_for(4));
}

TEST_F(Pool, HasThePlaceOfACancelledInspectionForAnotherAtOnce) {
  settings_.queue_max = 1;
  WafPool pool(2, Logger());
  ASSERT_TRUE(pool.submit(coded(), {&ear_, 1}, settings_));
  ASSERT_TRUE(engine_->wait_for(1));
  auto waiting = coded();
  ASSERT_TRUE(pool.submit(waiting, {&ear_, 2}, settings_));
  ASSERT_FALSE(pool.submit(coded(), {&ear_, 3}, settings_));
  pool.cancel(*waiting);
  EXPECT_TRUE(shows(pool, "leeward_waf_queue 0"));
  EXPECT_EQ(waiting.use_count(), 1) << "the queue must not keep what nobody waits for";
  ASSERT_TRUE(pool.submit(coded(), {&ear_, 4}, settings_));
  engine_->open();
  EXPECT_TRUE(ear_.wait_for(2));
  EXPECT_EQ(waiting->verdict(), nullptr);
}

TEST_F(Pool, TellsNobodyOfACancelledInspection) {
  WafPool pool(2, Logger());
  auto begun = make(get("/1"));
  auto other = make(get("/2"));
  ASSERT_TRUE(pool.submit(begun, {&ear_, 1}, settings_));
  ASSERT_TRUE(pool.submit(other, {&ear_, 2}, settings_));
  ASSERT_TRUE(engine_->wait_for(2));
  auto waiting = make(get("/3"));
  ASSERT_TRUE(pool.submit(waiting, {&ear_, 3}, settings_));
  pool.cancel(*begun);
  pool.cancel(*waiting);
  engine_->open();
  auto last = make(get("/free"));
  ASSERT_TRUE(pool.submit(last, {&ear_, 4}, settings_));
  EXPECT_TRUE(ear_.wait_for(2));  // the other one and the last
  EXPECT_EQ(waiting->verdict(), nullptr);
  EXPECT_EQ(ear_.count(), 2u);
}

// ---- the whole edge

// Answers one request a connection with the size of its body.
class Origin {
 public:
  Origin() {
    listener_ = testing::listen_somewhere(address_);
    thread_ = std::thread([this] {
      for (int fd; (fd = accept(listener_.get(), nullptr, nullptr)) >= 0;) serve(UniqueFd(fd));
    });
  }
  ~Origin() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  const std::string& address() const { return address_; }
  int served() const { return served_; }

 private:
  void serve(UniqueFd fd) {
    std::string in;
    char buffer[65536];
    std::size_t end = 0, length = 0;
    while ((end = in.find("\r\n\r\n")) == std::string::npos || in.size() < end + 4 + length) {
      const ssize_t n = read(fd.get(), buffer, sizeof buffer);
      if (n <= 0) return;
      in.append(buffer, static_cast<std::size_t>(n));
      if (const std::size_t at = in.find("Content-Length: "); at != std::string::npos)
        length = std::strtoul(in.c_str() + at + 16, nullptr, 10);
    }
    ++served_;
    const std::string body = fmt::format("{} bytes", length);
    const std::string out = fmt::format(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
    EXPECT_EQ(write(fd.get(), out.data(), out.size()), static_cast<ssize_t>(out.size()));
  }

  std::string address_;
  UniqueFd listener_;
  std::atomic<int> served_{0};
  std::thread thread_;
};

class Client {
 public:
  explicit Client(const std::string& address) : fd_(testing::connect_to(address)) {}
  void send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = write(fd_.get(), text.data(), text.size());
      ASSERT_GT(n, 0);
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void get(std::string_view target) {
    send(fmt::format("GET {} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n", target));
  }
  void post(std::string_view body, std::string_view fields = "") {
    send(
        fmt::format("POST / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n"
                    "Content-Type: {}\r\nContent-Length: {}\r\n{}\r\n",
                    kForm, body.size(), fields));
    if (fields.empty()) send(body);
  }
  // Everything until the other side closes, or until `text` is in it.
  std::string read_until(std::string_view text = "") {
    std::string in;
    char buffer[4096];
    pollfd p{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    while ((text.empty() || in.find(text) == std::string::npos) && poll(&p, 1, 20'000) == 1) {
      const ssize_t n = read(fd_.get(), buffer, sizeof buffer);
      if (n <= 0) break;
      in.append(buffer, static_cast<std::size_t>(n));
    }
    return in;
  }
  bool has_answer(int milliseconds) {
    pollfd p{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    return poll(&p, 1, milliseconds) == 1;
  }
  std::string status() {
    const std::string in = read_until();
    return in.size() < 12 ? "none" : in.substr(9, 3);
  }

 private:
  UniqueFd fd_;
};

class EdgeWithWaf : public ::testing::Test {
 protected:
  EdgeConfig config(std::shared_ptr<const InspectionEngine> engine) {
    EdgeConfig c;
    c.site = "here";
    c.listeners = {{.address = "127.0.0.1:0"}};
    c.groups = {{.name = "web",
                 .origins = {{.name = "a", .address = origin_.address()}},
                 .policy = {},
                 .sticky_cookie = ""}};
    c.routes = {{.name = "all", .host = "", .path = "/", .group = 0, .cache = nullptr}};
    c.timeouts.body = body_time_;
    c.waf = std::make_shared<const Waf>(
        Waf{.settings = settings_, .engine = std::move(engine), .pool = pool_});
    return c;
  }
  std::unique_ptr<Edge> start(std::shared_ptr<const InspectionEngine> engine) {
    EdgeOptions options;
    options.threads = 1;
    auto edge = Edge::start(std::move(options), config(std::move(engine)));
    if (!edge) ADD_FAILURE() << edge.error().message;
    return std::move(*edge);
  }
  std::shared_ptr<const SecLangEngine> seclang() {
    settings_.rules_file = directory_.write("rules.conf", kRules);
    return *SecLangEngine::load(settings_);
  }
  bool counted(const std::string& line) const {
    return pool_->prometheus_text().find(line + "\n") != std::string::npos;
  }

  // Sends the head of a body that is much longer, and an octet now and then until the edge answers.
  void trickle(Client& client) {
    client.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 100000\r\n\r\n");
    for (int i = 0; i < 2000 && !client.has_answer(10); ++i) client.send("x");
  }

  Directory directory_;
  Origin origin_;
  Duration body_time_ = 30s;
  EdgeWaf settings_{.rules_file = {}, .mode = WafMode::kBlock};
  std::shared_ptr<WafPool> pool_ = std::make_shared<WafPool>(2, Logger());
};

TEST_F(EdgeWithWaf, RefusesAnAttackBeforeTheOriginHearsOfIt) {
  auto edge = start(seclang());
  Client attack(edge->listening()[0]);
  attack.get(kAttack);
  EXPECT_EQ(attack.status(), "403");
  Client form(edge->listening()[0]);
  form.post("id=1%27+or+%271%27%3D%271");
  EXPECT_EQ(form.status(), "403");
  EXPECT_EQ(origin_.served(), 0);
  Client normal(edge->listening()[0]);
  normal.post("id=17&name=anna");
  EXPECT_NE(normal.read_until().find("15 bytes"), std::string::npos);
  EXPECT_TRUE(counted("leeward_waf_requests_total{outcome=\"block\"} 2"));
  EXPECT_TRUE(counted("leeward_waf_rule_blocks_total{rule=\"942100\"} 2"));
  const std::string explained = edge->explain(fmt::format("http://shop.test{}", kAttack));
  EXPECT_NE(explained.find("refused with 403 by rule 942100 (SQL injection)"), std::string::npos)
      << explained;
}

TEST_F(EdgeWithWaf, OnlyCountsInModeDetect) {
  settings_.mode = WafMode::kDetect;
  auto edge = start(seclang());
  Client attack(edge->listening()[0]);
  attack.get(kAttack);
  EXPECT_EQ(attack.status(), "200");
  EXPECT_TRUE(counted("leeward_waf_requests_total{outcome=\"detect\"} 1"));
}

TEST_F(EdgeWithWaf, RefusesABodyAboveTheBoundOrInspectsItsBeginning) {
  settings_.body_bytes_max = 1024;
  auto engine = seclang();
  auto edge = start(engine);
  const std::string body = "pad=" + std::string(200'000, 'x');
  Client large(edge->listening()[0]);
  large.post(body, "Expect: 100-continue\r\n");  // the body stays with the client
  EXPECT_NE(large.read_until("100 Continue").find("100 Continue"), std::string::npos);
  large.send(std::string_view(body).substr(0, 2000));
  EXPECT_EQ(large.status(), "413");
  EXPECT_EQ(origin_.served(), 0);

  settings_.body_limit_action = WafBodyLimit::kProcessPartial;
  EdgeConfig partial = config(engine);
  partial.listeners = {{.address = "127.0.0.1:0"}};
  ASSERT_TRUE(edge->reload(std::move(partial)));
  Client whole(edge->listening()[0]);
  whole.post(body);
  EXPECT_NE(whole.read_until().find("200004 bytes"), std::string::npos);
}

TEST_F(EdgeWithWaf, GoesByOnFailureWhenNoVerdictComesInTime) {
  settings_.timeout = 50ms;
  auto engine = std::make_shared<GatedEngine>();
  auto edge = start(engine);
  Client closed(edge->listening()[0]);
  closed.get("/");
  EXPECT_EQ(closed.status(), "503");
  settings_.on_failure = WafFailure::kFailOpen;
  ASSERT_TRUE(edge->reload(config(engine)));
  Client open(edge->listening()[0]);
  open.post("name=anna");
  EXPECT_NE(open.read_until().find("9 bytes"), std::string::npos);
  EXPECT_TRUE(counted("leeward_waf_requests_total{outcome=\"timeout\"} 2"));
  engine->open();
}

TEST_F(EdgeWithWaf, HoldsNoBodyForAClientThatSendsAnOctetNowAndThen) {
  body_time_ = 300ms;
  auto edge = start(seclang());
  Client slow(edge->listening()[0]);
  trickle(slow);
  EXPECT_EQ(slow.status(), "408");
  EXPECT_TRUE(counted("leeward_waf_held_bytes 0"));
  EXPECT_EQ(origin_.served(), 0);
}

TEST_F(EdgeWithWaf, WaitsForABodyThatKeepsComing) {
  body_time_ = 1s;
  auto edge = start(seclang());
  Client steady(edge->listening()[0]);
  steady.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 100000\r\n\r\n");
  for (int i = 0; i < 10; ++i) {  // 40 KB/s, for longer than the time between two parts
    steady.send(std::string(10'000, 'x'));
    ASSERT_FALSE(i < 9 && steady.has_answer(250));
  }
  EXPECT_NE(steady.read_until("100000 bytes").find("100000 bytes"), std::string::npos);
}

// The origin gets what came, and the rest as slowly as it comes.
TEST_F(EdgeWithWaf, InspectsWhatIsHereOfASlowBodyWhereItRefusesNothing) {
  settings_.mode = WafMode::kDetect;
  body_time_ = 1s;
  auto edge = start(seclang());
  Client slow(edge->listening()[0]);
  slow.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 40\r\n\r\n");
  for (int i = 0; i < 39; ++i) {
    slow.send("x");
    ASSERT_FALSE(slow.has_answer(40));
  }
  EXPECT_TRUE(counted("leeward_waf_requests_total{outcome=\"pass\"} 1"));
  slow.send("x");
  EXPECT_NE(slow.read_until("40 bytes").find("40 bytes"), std::string::npos);
}

TEST_F(EdgeWithWaf, TurnsRequestsAwayWhenTheQueueIsFull) {
  settings_.queue_max = 1;
  settings_.timeout = 1min;
  auto engine = std::make_shared<GatedEngine>();
  auto edge = start(engine);
  Client a(edge->listening()[0]), b(edge->listening()[0]);
  a.get("/1");
  ASSERT_TRUE(engine->wait_for(1));
  b.get("/2");
  ASSERT_TRUE(engine->wait_for(2));
  // Both threads are busy. One of the next two finds the only place taken.
  Client c(edge->listening()[0]), d(edge->listening()[0]);
  c.get("/3");
  while (!counted("leeward_waf_queue 1")) std::this_thread::yield();
  d.get("/4");
  EXPECT_EQ(d.status(), "503");
  EXPECT_TRUE(counted("leeward_waf_requests_total{outcome=\"overload\"} 1"));
  engine->open();
  for (Client* client : {&a, &b, &c}) EXPECT_EQ(client->status(), "200");
}

TEST_F(EdgeWithWaf, SurvivesClientsThatLeaveAndItsOwnEndDuringAnInspection) {
  settings_.timeout = 1min;
  auto engine = std::make_shared<GatedEngine>();
  auto edge = start(engine);
  {
    Client gone(edge->listening()[0]);
    gone.post("name=anna");
    ASSERT_TRUE(engine->wait_for(1));
  }
  Client stays(edge->listening()[0]);
  stays.get("/2");
  ASSERT_TRUE(engine->wait_for(2));
  edge.reset();
  engine->open();
  pool_.reset();
  EXPECT_EQ(origin_.served(), 0);
}

}  // namespace
}  // namespace leeward::edge
