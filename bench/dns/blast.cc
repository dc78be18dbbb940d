// leeward-bench-dns: a closed-loop DNS load generator on one thread. It keeps a window of questions
// open on each of its connected UDP sockets and sends the next one when an answer comes, in
// batches, so that it costs less per question than the server under test. Every answer is checked:
// one that is not an authoritative NOERROR with one record is counted as wrong.
//
// Prints one JSON object. An answer that did not come within 200 to 400 ms is lost.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t kBatch = 64;
constexpr std::size_t kAnswerSizeMax = 512;  // RFC 1035 section 2.3.4, without EDNS
constexpr std::size_t kIds = 65536;
constexpr auto kSweepEvery = 200ms;

struct Counts {
  std::uint64_t sent = 0, answered = 0, wrong = 0, lost = 0;
};

[[noreturn]] void give_up(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// A question of type A (RFC 1035 section 4.1); the id in the first two bytes is set when it is
// sent.
std::string question(const std::string& name) {
  std::string q("\0\0\0\0\0\1\0\0\0\0\0\0", 12);
  for (std::size_t start = 0; start < name.size();) {
    const std::size_t end = std::min(name.find('.', start), name.size());
    q += static_cast<char>(end - start);
    q.append(name, start, end - start);
    start = end + 1;
  }
  q.append("\0\0\1\0\1", 5);
  return q;
}

bool is_good(const std::uint8_t* answer, std::size_t size) {
  constexpr unsigned kResponse = 0x80, kAuthoritative = 0x04, kTruncated = 0x02, kCode = 0x0f;
  return size > 12 &&
         (answer[2] & (kResponse | kAuthoritative | kTruncated)) == (kResponse | kAuthoritative) &&
         (answer[3] & kCode) == 0 && answer[6] == 0 && answer[7] == 1;
}

// One socket and the questions that wait on it.
class Stream {
 public:
  Stream(const sockaddr_in& server, const std::vector<std::string>& questions, unsigned window)
      : questions_(questions), window_(window), sent_in_(kIds, 0) {
    fd_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) give_up("socket");
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0)
      give_up("connect");
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { ::close(fd_); }

  int fd() const { return fd_; }

  // Takes what has come; false if nothing had.
  bool receive(Counts& counts) {
    std::array<std::array<std::uint8_t, kAnswerSizeMax>, kBatch> buffers;
    std::array<iovec, kBatch> pieces;
    std::array<mmsghdr, kBatch> messages{};
    for (std::size_t i = 0; i < kBatch; ++i) {
      pieces[i] = {buffers[i].data(), buffers[i].size()};
      messages[i].msg_hdr.msg_iov = &pieces[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int n = ::recvmmsg(fd_, messages.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (n < 0 && errno != EAGAIN && errno != EINTR) give_up("receive");
    for (int i = 0; i < n; ++i) take(buffers[i].data(), messages[i].msg_len, counts);
    return n > 0;
  }

  // Fills the window.
  void send(Counts& counts) {
    while (open_ < window_) {
      const std::size_t wanted = std::min<std::size_t>(window_ - open_, kBatch);
      const std::size_t sent = send_batch(wanted);
      counts.sent += sent;
      if (sent < wanted) return;  // the socket's buffer is full: the server must read first
    }
  }

  // Called every kSweepEvery: what was open at the last call and still is, is lost.
  void sweep(Counts& counts) {
    for (std::uint8_t& in : sent_in_) {
      if (in == 0 || in == period_) continue;
      in = 0;
      --open_;
      ++counts.lost;
    }
    period_ = period_ == 1 ? 2 : 1;
  }

 private:
  void take(const std::uint8_t* answer, std::size_t size, Counts& counts) {
    const std::size_t id = size < 2 ? 0 : answer[0] << 8 | answer[1];
    if (size < 2 || sent_in_[id] == 0) return;  // already counted as lost
    sent_in_[id] = 0;
    --open_;
    ++(is_good(answer, size) ? counts.answered : counts.wrong);
  }

  std::size_t send_batch(std::size_t wanted) {
    std::array<std::array<std::uint8_t, 2>, kBatch> ids;
    std::array<std::array<iovec, 2>, kBatch> pieces;
    std::array<mmsghdr, kBatch> messages{};
    std::array<std::uint16_t, kBatch> chosen;
    std::uint16_t id = next_id_;
    for (std::size_t i = 0; i < wanted; ++i, ++id) {
      while (sent_in_[id] != 0) ++id;
      chosen[i] = id;
      ids[i] = {static_cast<std::uint8_t>(id >> 8), static_cast<std::uint8_t>(id)};
      const std::string& q = questions_[(next_question_ + i) % questions_.size()];
      pieces[i][0] = {ids[i].data(), 2};
      pieces[i][1] = {const_cast<char*>(q.data()) + 2, q.size() - 2};
      messages[i].msg_hdr.msg_iov = pieces[i].data();
      messages[i].msg_hdr.msg_iovlen = 2;
    }
    const int n = ::sendmmsg(fd_, messages.data(), static_cast<unsigned>(wanted), 0);
    if (n < 0 && errno != EAGAIN && errno != ENOBUFS && errno != EINTR) give_up("send");
    const std::size_t sent = n < 0 ? 0 : static_cast<std::size_t>(n);
    for (std::size_t i = 0; i < sent; ++i) sent_in_[chosen[i]] = period_;
    if (sent > 0) next_id_ = static_cast<std::uint16_t>(chosen[sent - 1] + 1);
    next_question_ += sent;
    open_ += static_cast<unsigned>(sent);
    return sent;
  }

  const std::vector<std::string>& questions_;
  const unsigned window_;
  int fd_;
  unsigned open_ = 0;
  std::uint16_t next_id_ = 1;
  std::size_t next_question_ = 0;
  std::uint8_t period_ = 1;            // 1 or 2, by turns
  std::vector<std::uint8_t> sent_in_;  // by id: the period in which it was sent, 0: not open
};

Counts blast(std::vector<std::unique_ptr<Stream>>& streams, Clock::duration time) {
  Counts counts;
  std::vector<pollfd> waits;
  for (const auto& stream : streams) waits.push_back({stream->fd(), POLLIN, 0});
  const auto end = Clock::now() + time;
  auto next_sweep = Clock::now() + kSweepEvery;
  for (auto now = Clock::now(); now < end; now = Clock::now()) {
    bool came = false;
    for (auto& stream : streams) {
      came = stream->receive(counts) || came;
      stream->send(counts);
    }
    if (!came) ::poll(waits.data(), waits.size(), 10);
    if (now < next_sweep) continue;
    for (auto& stream : streams) stream->sweep(counts);
    next_sweep = now + kSweepEvery;
  }
  return counts;
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Asks a DNS server on 127.0.0.1 for PREFIX0.ZONE, PREFIX1.ZONE ... as fast as it answers."};
  std::uint16_t port = 53;
  std::string zone = "bench.test", prefix = "host";
  unsigned names = 100, sockets = 4, window = 64;
  double time = 2;
  app.add_option("--port", port, "of the server")->capture_default_str();
  app.add_option("--zone", zone, "the zone")->capture_default_str();
  app.add_option("--prefix", prefix, "how the names begin")->capture_default_str();
  app.add_option("--names", names, "how many names")->check(CLI::Range(1, 100'000));
  app.add_option("--sockets", sockets, "UDP sockets")->check(CLI::Range(1, 256));
  app.add_option("--window", window, "open questions of a socket")->check(CLI::Range(1, 4096));
  app.add_option("--seconds", time, "how long")->check(CLI::Range(0.01, 3600.0));
  CLI11_PARSE(app, argc, argv);
  try {
    sockaddr_in server{};
    server.sin_family = AF_INET;
    server.sin_port = htons(port);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::vector<std::string> questions;
    for (unsigned i = 0; i < names; ++i)
      questions.push_back(question(prefix + std::to_string(i) + "." + zone));
    std::vector<std::unique_ptr<Stream>> streams;
    for (unsigned i = 0; i < sockets; ++i)
      streams.push_back(std::make_unique<Stream>(server, questions, window));
    const auto started = Clock::now();
    const Counts c = blast(
        streams, std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(time)));
    const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
    std::printf(
        "{\"seconds\": %.6f, \"sent\": %llu, \"answered\": %llu, \"wrong\": %llu, \"lost\": %llu, "
        "\"cpu_seconds\": %.6f}\n",
        seconds, static_cast<unsigned long long>(c.sent),
        static_cast<unsigned long long>(c.answered), static_cast<unsigned long long>(c.wrong),
        static_cast<unsigned long long>(c.lost), cpu_seconds());
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "leeward-bench-dns: %s\n", error.what());
    return 1;
  }
  return 0;
}
