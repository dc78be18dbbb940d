// The real server on a loopback port, asked by dig and over plain sockets.
#include "dns/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "base/file.h"
#include "dns_testing.h"

namespace leeward::dns {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr Duration kDeadline = 20s;

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "leeward-dns-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    options_.listen = {"127.0.0.1", 0};
    options_.threads = 2;
    options_.sites = {"gcp", "aws", "witness"};
    options_.primary = kGcp;
    options_.state_path = directory_ / "dns.state";
    options_.registry = &registry_;
  }
  ~ServerTest() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  void start() {
    server_.reset();
    auto started = Server::start(options_, compile(shop_zone(), 100).value());
    ASSERT_TRUE(started) << started.error().message;
    server_ = std::move(*started);
  }

  // What dig prints; it gives up after 2 s and one repetition.
  std::string dig(const std::string& arguments) {
    std::string command = fmt::format("dig -r @127.0.0.1 -p {} +norec +time=2 +tries=2 {} 2>&1",
                                      server_->local().port, arguments);
    FILE* pipe = ::popen(command.c_str(), "r");
    std::string text;
    char buffer[4096];
    while (std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, n);
    EXPECT_EQ(::pclose(pipe), 0) << command << "\n" << text;
    return text;
  }

  UniqueFd connect_to(int type, const char* address = "127.0.0.1") {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(server_->local().port);
    ::inet_pton(AF_INET, address, &to.sin_addr);
    UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return fd;
  }

  // The next octets from `fd`; empty at its end or after the deadline.
  static std::string receive(int fd, Duration wait = kDeadline) {
    pollfd wanted{fd, POLLIN, 0};
    if (::poll(&wanted, 1, static_cast<int>(wait / 1ms)) != 1) return {};
    std::string buffer(65536, '\0');
    ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    buffer.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return buffer;
  }

  static bool ended(int fd) {  // the server closes within the deadline
    pollfd wanted{fd, POLLIN, 0};
    char octet;
    return ::poll(&wanted, 1, static_cast<int>(kDeadline / 1ms)) == 1 &&
           ::recv(fd, &octet, 1, 0) <= 0;
  }

  static std::string framed(const std::string& query) {
    std::string out;
    append16(out, static_cast<std::uint16_t>(query.size()));
    return out + query;
  }

  // `count` replies from a TCP connection.
  static std::vector<Decoded> receive_replies(int fd, std::size_t count) {
    std::string bytes;
    std::vector<Decoded> replies;
    while (replies.size() < count) {
      while (bytes.size() >= 2 && bytes.size() >= std::size_t{2} + load16(octets(bytes).data())) {
        std::size_t length = load16(octets(bytes).data());
        replies.push_back(Decoder(octets(bytes).subspan(2, length)).run());
        bytes.erase(0, 2 + length);
      }
      if (replies.size() == count) break;
      std::string more = receive(fd);
      if (more.empty()) break;
      bytes += more;
    }
    return replies;
  }

  Decoded ask_udp(const Ask& ask) {
    UniqueFd fd = connect_to(SOCK_DGRAM);
    std::string query = to_query(ask);
    EXPECT_EQ(::send(fd.get(), query.data(), query.size(), 0), static_cast<ssize_t>(query.size()));
    return Decoder(octets(receive(fd.get()))).run();
  }
  std::string www() {
    Decoded d = ask_udp({"www.shop.test"});
    return d.answer.size() == 1 ? d.answer[0] : "not one record";
  }

  std::filesystem::path directory_;
  Registry registry_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

constexpr char kWwwGcp[] = "www.shop.test. 10 1 198.51.100.1";
constexpr char kWwwAws[] = "www.shop.test. 10 1 203.0.113.1";

TEST_F(ServerTest, DigGetsEachKindOfAnswer) {
  start();
  EXPECT_THAT(dig("www.shop.test A"),
              AllOf(HasSubstr("status: NOERROR"), HasSubstr("flags: qr aa;"),
                    HasSubstr("198.51.100.1"), Not(HasSubstr("WARNING"))));
  EXPECT_THAT(dig("nope.shop.test A"), AllOf(HasSubstr("status: NXDOMAIN"), HasSubstr("SOA")));
  EXPECT_THAT(dig("www.shop.test AAAA"),
              AllOf(HasSubstr("status: NOERROR"), HasSubstr("ANSWER: 0"), HasSubstr("5\tIN\tSOA")));
  EXPECT_THAT(dig("deep.shop.test A"), AllOf(HasSubstr("status: NOERROR"), HasSubstr("SOA")));
  EXPECT_THAT(dig("shop.shop.test A"),
              AllOf(HasSubstr("CNAME\twww.shop.test."), HasSubstr("ANSWER: 2")));
  EXPECT_THAT(dig("x.y.wild.shop.test A"), HasSubstr("192.0.2.77"));
  EXPECT_THAT(dig("shop.test MX"),
              AllOf(HasSubstr("10 mail.shop.test."), HasSubstr("2001:db8::25")));
  EXPECT_THAT(dig("shop.test CAA"), HasSubstr("0 issue \"ca.example\""));
  EXPECT_THAT(dig("_sip._tcp.shop.test SRV"), HasSubstr("10 20 5060 www.shop.test."));
  EXPECT_THAT(dig("shop.test ANY +notcp"), HasSubstr("\"RFC8482\""));
  EXPECT_THAT(dig("x.sub.shop.test A"), AllOf(HasSubstr("flags: qr;"), HasSubstr("192.0.2.53")));
  EXPECT_THAT(dig("example.org A"), HasSubstr("status: REFUSED"));
  EXPECT_THAT(dig("version.bind TXT CH"), HasSubstr("status: REFUSED"));
  EXPECT_THAT(dig("+opcode=notify shop.test SOA"), HasSubstr("status: NOTIMP"));
  EXPECT_THAT(dig("WwW.sHoP.test A"), HasSubstr("WwW.sHoP.test.\t\t10\tIN\tA"));
}

TEST_F(ServerTest, DigNegotiatesEdns) {
  start();
  EXPECT_THAT(dig("+edns=1 +noednsnegotiation www.shop.test A"), HasSubstr("status: BADVERS"));
  EXPECT_THAT(
      dig("+ednsopt=65001:deadbeef +nsid +cookie www.shop.test A"),
      AllOf(HasSubstr("status: NOERROR"), HasSubstr("198.51.100.1"), HasSubstr("udp: 1232")));
  EXPECT_THAT(dig("+dnssec www.shop.test A"), HasSubstr("flags: do;"));
  EXPECT_THAT(dig("+noedns www.shop.test A"), Not(HasSubstr("OPT PSEUDOSECTION")));
}

TEST_F(ServerTest, ATruncatedAnswerIsFetchedOverTcp) {
  start();
  EXPECT_THAT(dig("+ignore big.shop.test TXT"),
              AllOf(HasSubstr("flags: qr aa tc;"), HasSubstr("ANSWER: 0")));
  EXPECT_THAT(dig("big.shop.test TXT"), AllOf(HasSubstr("retrying in TCP mode"),
                                              HasSubstr("ANSWER: 20"), HasSubstr("(TCP)")));
  EXPECT_THAT(dig("+tcp www.shop.test A"), HasSubstr("198.51.100.1"));
}

TEST_F(ServerTest, AFailoverIsAnsweredAtOnceAndTheSerialGrows) {
  start();
  EXPECT_EQ(www(), kWwwGcp);
  const std::uint32_t before = server_->serial();
  ASSERT_TRUE(server_->publish(kAws, Epoch{2}, 10));
  EXPECT_EQ(www(), kWwwAws);
  EXPECT_EQ(server_->serial(), before + 1);
  EXPECT_THAT(dig("+tcp +short shop.test SOA"), HasSubstr(std::to_string(before + 1)));
  ASSERT_TRUE(server_->publish(kAws, Epoch{2}, 10));
  EXPECT_EQ(server_->serial(), before + 1) << "a repetition changes nothing";
  EXPECT_THAT(registry_.prometheus_text(),
              AllOf(HasSubstr("leeward_dns_active_site{site=\"aws\"} 1"),
                    HasSubstr("leeward_dns_active_site{site=\"gcp\"} 0"),
                    HasSubstr("leeward_dns_epoch 2")));
}

TEST_F(ServerTest, AnOlderPublicationIsRefused) {
  start();
  ASSERT_TRUE(server_->publish(kAws, Epoch{5}, 10));
  EXPECT_EQ(server_->publish(kGcp, Epoch{4}, 99).error().code, Code::kRefused);
  EXPECT_EQ(server_->publish(kGcp, Epoch{5}, 9).error().code, Code::kRefused);
  EXPECT_EQ(server_->publish(kGcp, Epoch{5}, 10).error().code, Code::kConflict);
  EXPECT_EQ(server_->publish(SiteId{9}, Epoch{6}, 11).error().code, Code::kInvalid);
  EXPECT_EQ(www(), kWwwAws);
  EXPECT_THAT(registry_.prometheus_text(), HasSubstr("leeward_dns_publications_refused_total 3"));
  EXPECT_TRUE(server_->publish(kGcp, Epoch{5}, 11));
  EXPECT_EQ(www(), kWwwGcp);
}

TEST_F(ServerTest, ARestartAnswersTheLastActiveSite) {
  start();
  ASSERT_TRUE(server_->publish(kAws, Epoch{5}, 10));
  const std::uint32_t before = server_->serial();
  start();
  EXPECT_EQ(www(), kWwwAws);
  EXPECT_EQ(server_->epoch(), Epoch{5});
  EXPECT_GT(server_->serial(), before);
  EXPECT_EQ(server_->publish(kGcp, Epoch{4}, 11).error().code, Code::kRefused);
}

TEST_F(ServerTest, ACorruptStateFileIsSetAsideAndThePrimaryAnswered) {
  std::ofstream(options_.state_path) << "leeward-dns-state 1\nactive aws\nepoch 5";
  start();
  EXPECT_EQ(www(), kWwwGcp);
  EXPECT_TRUE(std::filesystem::exists(options_.state_path + ".corrupt"));
}

TEST_F(ServerTest, ASavedSiteThatIsGoneFallsBackToThePrimaryButKeepsTheEpoch) {
  start();
  ASSERT_TRUE(server_->publish(kAws, Epoch{5}, 10));
  options_.sites = {"gcp", "azure"};
  start();
  EXPECT_EQ(www(), kWwwGcp);
  EXPECT_EQ(server_->epoch(), Epoch{5});
}

TEST_F(ServerTest, AChangeThatCannotBeKeptIsAnsweredAndReported) {
  start();
  std::filesystem::remove_all(directory_);
  EXPECT_EQ(server_->publish(kAws, Epoch{2}, 1).error().code, Code::kIo);
  EXPECT_EQ(www(), kWwwAws);
  std::filesystem::create_directory(directory_);
  EXPECT_TRUE(server_->publish(kAws, Epoch{2}, 1)) << "the repetition keeps it";
  EXPECT_TRUE(std::filesystem::exists(options_.state_path));
}

TEST_F(ServerTest, AReplacedZoneIsAnsweredWithAHigherSerial) {
  start();
  const std::uint32_t before = server_->serial();
  DnsZone changed = shop_zone();
  changed.records.push_back(record("fresh", RecordType::kA, {"192.0.2.200"}));
  ASSERT_TRUE(server_->replace(compile(changed, 1).value()));
  EXPECT_THAT(ask_udp({"fresh.shop.test"}).answer, SizeIs(1));
  EXPECT_GT(server_->serial(), before);
}

TEST_F(ServerTest, RefusesToStartOnWhatItCannotUse) {
  start();
  ServerOptions taken = options_;
  taken.registry = nullptr;
  taken.state_path = "";
  taken.listen.host = "shop.test";
  EXPECT_EQ(Server::start(taken, compile(shop_zone(), 1).value()).error().code, Code::kInvalid);
  UniqueFd other(::socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(other.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::getsockname(other.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  taken.listen = {"127.0.0.1", ntohs(address.sin_port)};
  EXPECT_EQ(Server::start(taken, compile(shop_zone(), 1).value()).error().code, Code::kIo);
}

TEST_F(ServerTest, RepliesComeFromTheAddressThatWasAsked) {
  options_.listen.host = "0.0.0.0";
  start();
  for (const char* address : {"127.0.0.1", "127.0.0.2", "127.1.2.3"}) {
    UniqueFd fd =
        connect_to(SOCK_DGRAM, address);  // connected: replies from elsewhere are not seen
    std::string query = to_query({"www.shop.test"});
    ::send(fd.get(), query.data(), query.size(), 0);
    EXPECT_THAT(Decoder(octets(receive(fd.get()))).run().answer, ElementsAre(kWwwGcp)) << address;
  }
}

TEST_F(ServerTest, PipelinedQueriesAreAllAnswered) {
  start();
  constexpr std::size_t kQueries = 500;  // more than one turn, and more bytes than one receive
  UniqueFd fd = connect_to(SOCK_STREAM);
  std::string all;
  for (std::size_t i = 0; i < kQueries; ++i)
    all += framed(
        to_query({i % 2 == 0 ? "www.shop.test" : "big.shop.test", i % 2 == 0 ? kTypeA : kTypeTxt},
                 static_cast<std::uint16_t>(i)));
  std::size_t sent = 0;
  std::thread sender([&] {
    while (sent < all.size()) {
      ssize_t n = ::send(fd.get(), all.data() + sent, all.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<std::size_t>(n);
    }
    ::shutdown(fd.get(), SHUT_WR);  // the last replies must come nevertheless
  });
  auto replies = receive_replies(fd.get(), kQueries);
  sender.join();
  ASSERT_THAT(replies, SizeIs(kQueries));
  for (std::size_t i = 0; i < kQueries; ++i) {
    EXPECT_TRUE(replies[i].good);
    EXPECT_EQ(replies[i].id, i);
  }
  EXPECT_TRUE(ended(fd.get()));
}

TEST_F(ServerTest, AQueryInSingleOctetsIsAnswered) {
  start();
  UniqueFd fd = connect_to(SOCK_STREAM);
  for (char octet : framed(to_query({"www.shop.test"})))
    ASSERT_EQ(::send(fd.get(), &octet, 1, MSG_NOSIGNAL), 1);
  EXPECT_THAT(receive_replies(fd.get(), 1), SizeIs(1));
}

TEST_F(ServerTest, IdleAndTricklingConnectionsAreClosed) {
  options_.tcp.idle_timeout = 1s;
  options_.tcp.progress_timeout = 1s;
  start();
  UniqueFd idle = connect_to(SOCK_STREAM);
  UniqueFd slow = connect_to(SOCK_STREAM);
  const std::string query = framed(to_query({"www.shop.test"}));
  // One octet at each turn of the poll below: never a whole query within the timeout.
  BootTime deadline = BootClock::now() + kDeadline;
  bool closed = false;
  for (std::size_t i = 0; !closed && BootClock::now() < deadline && i + 1 < query.size(); ++i) {
    closed = ::send(slow.get(), &query[i], 1, MSG_NOSIGNAL) != 1;
    pollfd wanted{slow.get(), POLLIN, 0};
    closed = closed || ::poll(&wanted, 1, 50) == 1;
  }
  EXPECT_TRUE(closed);
  EXPECT_TRUE(ended(idle.get()));
  EXPECT_THAT(registry_.prometheus_text(),
              AllOf(HasSubstr("leeward_dns_tcp_closed_total{reason=\"slow\"} 1"),
                    HasSubstr("leeward_dns_tcp_closed_total{reason=\"idle\"} 1")));
}

TEST_F(ServerTest, OneConnectionTooManyClosesTheOneThatIsIdleLongest) {
  options_.tcp.connections_max = 2;
  start();
  const std::string query = framed(to_query({"www.shop.test"}));
  std::vector<UniqueFd> fds;
  for (int i = 0; i < 3; ++i) {
    fds.push_back(connect_to(SOCK_STREAM));
    ASSERT_EQ(::send(fds.back().get(), query.data(), query.size(), 0),
              static_cast<ssize_t>(query.size()));
    ASSERT_THAT(receive_replies(fds.back().get(), 1), SizeIs(1));
  }
  EXPECT_TRUE(ended(fds[0].get()));
  ASSERT_EQ(::send(fds[1].get(), query.data(), query.size(), 0),
            static_cast<ssize_t>(query.size()));
  EXPECT_THAT(receive_replies(fds[1].get(), 1), SizeIs(1));
}

TEST_F(ServerTest, ATooLongQueryClosesItsConnection) {
  start();
  UniqueFd fd = connect_to(SOCK_STREAM);
  ASSERT_EQ(::send(fd.get(), "\xff\xff", 2, 0), 2);
  EXPECT_TRUE(ended(fd.get()));
  EXPECT_THAT(registry_.prometheus_text(),
              HasSubstr("leeward_dns_tcp_closed_total{reason=\"long_query\"} 1"));
}

TEST_F(ServerTest, GarbageIsSurvivedAndCounted) {
  start();
  std::mt19937 random(20260731);
  UniqueFd udp = connect_to(SOCK_DGRAM);
  const std::string good =
      to_query({.name = "www.shop.test", .edns_size = 1232, .options = "abcd"});
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = good;
    if (i % 2 == 0) {
      bytes.resize(random() % 600);
      for (char& c : bytes) c = static_cast<char>(random());
    } else {
      for (unsigned k = 0; k < 1 + random() % 4; ++k)
        bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    ::send(udp.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (i % 50 == 0) {
      UniqueFd tcp = connect_to(SOCK_STREAM);
      ::send(tcp.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
  }
  EXPECT_EQ(www(), kWwwGcp);
  EXPECT_THAT(registry_.prometheus_text(),
              AllOf(HasSubstr("leeward_dns_queries_total{proto=\"udp\",type=\"unreadable\"}"),
                    HasSubstr("leeward_dns_dropped_total{proto=\"udp\"}")));
}

TEST_F(ServerTest, CountsAnAnswerBeforeItArrives) {
  start();
  EXPECT_EQ(www(), kWwwGcp);
  EXPECT_EQ(ask_udp({"nope.shop.test", kTypeMx}).rcode, 3);
  EXPECT_THAT(registry_.prometheus_text(),
              AllOf(HasSubstr("leeward_dns_queries_total{proto=\"udp\",type=\"A\"} 1"),
                    HasSubstr("leeward_dns_queries_total{proto=\"udp\",type=\"MX\"} 1"),
                    HasSubstr("leeward_dns_responses_total{proto=\"udp\",rcode=\"NOERROR\"} 1"),
                    HasSubstr("leeward_dns_responses_total{proto=\"udp\",rcode=\"NXDOMAIN\"} 1")));
}

// Under load from both protocols, no answer is empty and none mixes two publications.
TEST_F(ServerTest, AnswersAreWholeWhilePublicationsAndReplacementsGoOn) {
  start();
  std::atomic<bool> done{false};
  std::thread changes([&] {
    auto zone = compile(shop_zone(), 1).value();
    for (std::uint64_t i = 1; !done; ++i) {
      EXPECT_TRUE(server_->publish(i % 2 == 0 ? kGcp : kAws, Epoch{i}, i));
      if (i % 8 != 0) continue;
      EXPECT_TRUE(server_->replace(zone));
    }
  });
  for (int i = 0; i < 2000; ++i) EXPECT_THAT(www(), ::testing::AnyOf(kWwwGcp, kWwwAws));
  done = true;
  changes.join();
}

}  // namespace
}  // namespace leeward::dns
