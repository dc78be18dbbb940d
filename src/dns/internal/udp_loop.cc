#include "dns/internal/udp_loop.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <memory>

#include "dns/internal/query_metrics.h"
#include "dns/responder.h"

namespace leeward::dns::internal {
namespace {

// More gains nothing: the kernel's cost a message is what remains (measured against 64).
constexpr unsigned kBatch = 16;
constexpr std::size_t kQueryMax = kUdpAnswerMax;  // a longer query is dropped; none is in practice

// Buffers of one loop, wired to the kernel's structures once.
class Batch {
 public:
  explicit Batch(bool any_address) : any_address_(any_address) {
    for (unsigned i = 0; i < kBatch; ++i) {
      in_vector_[i] = {queries_[i].data(), kQueryMax};
      in_[i].msg_hdr.msg_iov = &in_vector_[i];
      in_[i].msg_hdr.msg_iovlen = 1;
      in_[i].msg_hdr.msg_name = &clients_[i];
    }
  }

  // Number of messages; 0 after the timeout or an error that concerns one message only.
  unsigned receive(int fd) {
    for (unsigned i = 0; i < kBatch; ++i) {  // the kernel overwrote the lengths
      in_[i].msg_hdr.msg_namelen = sizeof(sockaddr_in);
      in_[i].msg_hdr.msg_control = any_address_ ? controls_[i].bytes : nullptr;
      in_[i].msg_hdr.msg_controllen = any_address_ ? sizeof controls_[i].bytes : 0;
    }
    int n = ::recvmmsg(fd, in_.data(), kBatch, MSG_WAITFORONE, nullptr);
    return n < 0 ? 0 : static_cast<unsigned>(n);
  }

  void answer(unsigned count, ZoneReader& reader, QueryTally& tally) {
    const Zone& zone = reader.zone();
    replies_ = 0;
    for (unsigned i = 0; i < count; ++i) {
      if ((in_[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) {
        tally.count({});
        continue;
      }
      Reply reply = dns::answer(zone, reader.active(), {queries_[i].data(), in_[i].msg_len}, false,
                                answers_[i]);
      tally.count(reply);
      if (reply.size != 0) add_reply(i, reply.size);
    }
  }

  // Sends all replies; returns how many the kernel did not take.
  unsigned send(int fd) {
    unsigned lost = 0;
    for (unsigned sent = 0; sent < replies_;) {
      int n = ::sendmmsg(fd, &out_[sent], replies_ - sent, 0);
      if (n <= 0) ++lost;  // the first one is at fault (say, source port 0); go on after it
      sent += n <= 0 ? 1 : static_cast<unsigned>(n);
    }
    return lost;
  }

 private:
  struct alignas(cmsghdr) Control {
    unsigned char bytes[CMSG_SPACE(sizeof(in_pktinfo))];
  };

  void add_reply(unsigned i, std::size_t size) {
    msghdr& reply = out_[replies_].msg_hdr;
    out_vector_[replies_] = {answers_[i].data(), size};
    reply = in_[i].msg_hdr;  // back to the client, with the control data that tells our address
    reply.msg_iov = &out_vector_[replies_];
    reply.msg_flags = 0;
    if (any_address_) prepare_source(reply);
    ++replies_;
  }

  // The source is to be the address that was asked; the route is the kernel's choice.
  static void prepare_source(msghdr& reply) {
    cmsghdr* header = CMSG_FIRSTHDR(&reply);
    if (header == nullptr || header->cmsg_level != IPPROTO_IP || header->cmsg_type != IP_PKTINFO) {
      reply.msg_control = nullptr;
      reply.msg_controllen = 0;
      return;
    }
    reinterpret_cast<in_pktinfo*>(CMSG_DATA(header))->ipi_ifindex = 0;
  }

  const bool any_address_;
  unsigned replies_ = 0;
  std::array<mmsghdr, kBatch> in_{};
  std::array<mmsghdr, kBatch> out_{};
  std::array<iovec, kBatch> in_vector_{};
  std::array<iovec, kBatch> out_vector_{};
  std::array<sockaddr_in, kBatch> clients_{};
  std::array<Control, kBatch> controls_{};
  std::array<std::array<std::uint8_t, kQueryMax>, kBatch> queries_{};
  std::array<std::array<std::uint8_t, kUdpAnswerMax>, kBatch> answers_{};
};

}  // namespace

void run_udp_loop(int fd, bool any_address, SharedZone& shared, Registry& registry,
                  const std::atomic<bool>& stop) {
  ZoneReader reader(shared);
  QueryTally tally(registry, "udp");
  Counter& lost = registry.counter("leeward_dns_send_failures_total",
                                   "UDP replies that the kernel did not take.");
  auto batch = std::make_unique<Batch>(any_address);
  while (!stop.load(std::memory_order_relaxed)) {
    unsigned received = batch->receive(fd);
    if (received == 0) continue;
    batch->answer(received, reader, tally);
    tally.flush();
    if (unsigned failures = batch->send(fd); failures != 0) lost.add(failures);
  }
}

}  // namespace leeward::dns::internal
