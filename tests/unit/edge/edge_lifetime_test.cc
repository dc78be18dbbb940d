// What outlives what in a whole edge: connections, reloads, requests under way, the edge itself.
// For AddressSanitizer to look at.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "edge/cache.h"
#include "edge/edge.h"
#include "loopback.h"

namespace leeward::edge {
namespace {

constexpr SiteId kHere{0};

// Files of a self-signed certificate for shop.test.
class CertificateFiles {
 public:
  CertificateFiles() {
    char name[] = "/tmp/leeward-lifetime-XXXXXX";
    directory_ = mkdtemp(name);
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("shop.test"), -1, -1, 0);
    X509_set_issuer_name(certificate, subject);
    X509_sign(certificate, key, EVP_sha256());
    write(files().chain_path, [&](FILE* f) { PEM_write_X509(f, certificate); });
    write(files().key_path,
          [&](FILE* f) { PEM_write_PrivateKey(f, key, nullptr, nullptr, 0, nullptr, nullptr); });
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  ~CertificateFiles() { std::filesystem::remove_all(directory_); }
  Certificate files() const { return {directory_ + "/shop.pem", directory_ + "/shop.key", ""}; }

 private:
  template <typename Write>
  static void write(const std::string& path, Write write) {
    FILE* file = std::fopen(path.c_str(), "w");
    ASSERT_NE(file, nullptr);
    write(file);
    std::fclose(file);
  }
  std::string directory_;
};

// Answers each request on any connection with `answer`; without one, never.
class Origin {
 public:
  explicit Origin(std::string answer) : answer_(std::move(answer)) {
    listener_ = testing::listen_somewhere(address_);
    thread_ = std::thread([this] { run(); });
  }
  ~Origin() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    for (UniqueFd& fd : open_) shutdown(fd.get(), SHUT_RDWR);
    for (std::thread& thread : serving_) thread.join();
  }
  const std::string& address() const { return address_; }
  void wait_for_request() const {
    while (!asked_) std::this_thread::yield();
  }

 private:
  void run() {
    for (int fd; (fd = accept(listener_.get(), nullptr, nullptr)) >= 0;) {
      open_.emplace_back(fd);
      serving_.emplace_back([this, fd] { serve(fd); });
    }
  }
  void serve(int fd) {
    std::string in;
    char buffer[4096];
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) {
      in.append(buffer, static_cast<std::size_t>(n));
      if (!in.ends_with("\r\n\r\n")) continue;
      asked_ = true;
      if (answer_.empty()) continue;
      in.clear();
      for (std::size_t sent = 0; sent < answer_.size();) {
        const ssize_t more = ::send(fd, answer_.data() + sent, answer_.size() - sent, MSG_NOSIGNAL);
        if (more <= 0) return;
        sent += static_cast<std::size_t>(more);
      }
    }
  }

  const std::string answer_;
  std::string address_;
  std::atomic<bool> asked_{false};
  UniqueFd listener_;
  std::vector<UniqueFd> open_;
  std::vector<std::thread> serving_;
  std::thread thread_;
};

EdgeConfig config_for(const Origin& origin) {
  EdgeConfig config;
  config.site = "here";
  config.listeners = {{.address = "127.0.0.1:0"}};
  config.groups = {{.name = "web",
                    .origins = {{.name = "a", .address = origin.address(), .site = kHere}},
                    .policy = {},
                    .sticky_cookie = ""}};
  config.routes = {{.name = "all", .host = "", .path = "/", .group = 0, .cache = nullptr}};
  return config;
}

std::unique_ptr<Edge> start(EdgeConfig config, std::shared_ptr<Cache> cache = nullptr) {
  EdgeOptions options;
  options.threads = 1;
  options.cache = std::move(cache);
  auto edge = Edge::start(std::move(options), std::move(config));
  if (!edge) ADD_FAILURE() << edge.error().message;
  EXPECT_TRUE((*edge)->publish({.active = kHere, .epoch = Epoch{1}, .version = 1}));
  return std::move(*edge);
}

void wait_for(const Edge& edge, const std::string& metric) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (edge.prometheus_text().find(metric + "\n") == std::string::npos) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "no " << metric;
    std::this_thread::yield();
  }
}

void send_all(const UniqueFd& fd, std::string_view bytes) {
  ASSERT_EQ(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

// What comes first, at most 4 KiB; "" when nothing does in `milliseconds`.
std::string receive(const UniqueFd& fd, int milliseconds = 10'000) {
  pollfd readable{.fd = fd.get(), .events = POLLIN, .revents = 0};
  char buffer[4096];
  if (poll(&readable, 1, milliseconds) != 1) return {};
  const ssize_t n = read(fd.get(), buffer, sizeof buffer);
  return std::string(buffer, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
}

TEST(EdgeLifetime, AConnectionShakesHandsByTheCertificateOfItsTimeAfterReloads) {
  CertificateFiles certificate;
  Origin origin("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  EdgeConfig config = config_for(origin);
  config.listeners[0].tls = true;
  config.certificates = {certificate.files()};
  auto edge = start(config);
  ASSERT_TRUE(edge->reload(config));
  UniqueFd client = testing::connect_to(edge->listening().front());
  wait_for(*edge, "leeward_edge_connections 1");
  ASSERT_TRUE(edge->reload(config));
  ASSERT_TRUE(edge->reload(config));
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* ssl = SSL_new(context);
  SSL_set_tlsext_host_name(ssl, "shop.test");
  SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
  SSL_set_fd(ssl, client.get());
  EXPECT_EQ(SSL_connect(ssl), 1);
  SSL_free(ssl);
  SSL_CTX_free(context);
}

TEST(EdgeLifetime, AnEdgeEndsWithStreamsOfHttp2UnderWay) {
  Origin silent("");
  auto edge = start(config_for(silent));
  UniqueFd client = testing::connect_to(edge->listening().front());
  using namespace std::string_view_literals;
  send_all(client,
           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
           "\0\0\0\4\0\0\0\0\0"sv);  // the preface: with empty SETTINGS
  send_all(client,
           "\0\0\x0e\1\5\0\0\0\1"  // HEADERS, END_STREAM and END_HEADERS, on stream 1
           "\x82\x86\x84\x41\x09shop.test"sv);
  silent.wait_for_request();
  edge.reset();
}

TEST(EdgeLifetime, AReloadThatCannotOpenTheLogChangesNothing) {
  Origin origin("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  char name[] = "/tmp/leeward-lifetime-XXXXXX";
  const std::string directory = mkdtemp(name);
  EdgeOptions options;
  options.threads = 1;
  options.access_log = AccessLogFormat::kJson;
  options.access_log_path = directory + "/access.log";
  EdgeConfig config = config_for(origin);
  auto edge = Edge::start(std::move(options), config);
  ASSERT_TRUE(edge);
  std::filesystem::remove_all(directory);
  config.routes.clear();
  EXPECT_FALSE((*edge)->reload(config));
  UniqueFd client = testing::connect_to((*edge)->listening().front());
  send_all(client, "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
  EXPECT_TRUE(receive(client).starts_with("HTTP/1.1 200 OK"));
}

TEST(EdgeLifetime, WhatIsServedStaleInsteadOfWaitingForTheWriterIsNotReleasedAgain) {
  const std::string body(32u << 20, 'x');
  Origin origin(fmt::format("HTTP/1.1 200 OK\r\nCache-Control: max-age=1\r\nContent-Length: "
                            "{}\r\n\r\n",
                            body.size()) +
                body);
  EdgeConfig config = config_for(origin);
  config.routes[0].writer = WriterNeed::kAll;
  config.routes[0].cache = std::make_shared<CachePolicy>();
  config.parking = {.time_max = 200ms, .requests_max = 8, .bytes_max = 1u << 20};
  auto edge = start(config, std::make_shared<HttpCache>(CacheOptions{}));
  const std::string address = edge->listening().front();
  const std::string_view get = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
  {
    UniqueFd client = testing::connect_to(address);
    send_all(client, get);
    for (std::size_t got = 0; got < body.size();) {
      const std::size_t more = receive(client).size();
      ASSERT_GT(more, 0u);
      got += more;
    }
  }
  std::this_thread::sleep_for(1100ms);  // until it is stale
  ASSERT_TRUE(edge->publish({.active = kHere, .epoch = Epoch{1}, .version = 2, .moving = true}));
  UniqueFd slow = testing::connect_to(address);
  send_all(slow, get);
  EXPECT_TRUE(receive(slow).starts_with("HTTP/1.1 200 OK"));  // stale, and most of it is to come
  ASSERT_TRUE(edge->publish({.active = kHere, .epoch = Epoch{1}, .version = 3, .moving = false}));
  ASSERT_TRUE(edge->publish({.active = kHere, .epoch = Epoch{1}, .version = 4, .moving = true}));
  UniqueFd next = testing::connect_to(address);
  send_all(next, "GET /other HTTP/1.1\r\nHost: shop.test\r\n\r\n");
  wait_for(*edge, "leeward_edge_parked 1");
}

}  // namespace
}  // namespace leeward::edge
