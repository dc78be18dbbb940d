#include "net/dns_client.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <climits>
#include <iterator>

namespace leeward::net {
namespace {

constexpr std::size_t kMessageMax = 16 * 1024;  // far more than host names and addresses take
constexpr int kTries = 2;
constexpr int kAliasesMax = 8;  // CNAMEs after one another

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

std::string plain_name(std::string_view name) {
  while (name.ends_with('.')) name.remove_suffix(1);
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

bool is_host_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
}

// The name in a record's data; empty: it is malformed.
std::string name_in(const ns_msg& message, const ns_rr& record) {
  char text[NS_MAXDNAME];
  if (ns_name_uncompress(ns_msg_base(message), ns_msg_end(message), ns_rr_rdata(record), text,
                         sizeof text) < 0)
    return "";
  return plain_name(text);
}

std::string value_of(const ns_msg& message, const ns_rr& record, DnsType type) {
  char text[INET6_ADDRSTRLEN];
  switch (type) {
    case DnsType::kA:
      if (ns_rr_rdlen(record) != 4) return "";
      return inet_ntop(AF_INET, ns_rr_rdata(record), text, sizeof text);
    case DnsType::kAaaa:
      if (ns_rr_rdlen(record) != 16) return "";
      return inet_ntop(AF_INET6, ns_rr_rdata(record), text, sizeof text);
    case DnsType::kPtr:
      break;
  }
  std::string name = name_in(message, record);
  return is_host_name(name) ? name : "";
}

// A resolver state that is closed again.
class State {
 public:
  State() : ready_(res_ninit(&state_) == 0) {}
  ~State() {
    if (ready_) res_nclose(&state_);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  bool ready() const { return ready_; }
  struct __res_state* operator->() {
    return &state_;
  }
  struct __res_state* get() {
    return &state_;
  }

 private:
  struct __res_state state_ {};
  bool ready_;
};

}  // namespace

Result<DnsRecords> parse_dns_answer(std::span<const std::uint8_t> message, const std::string& name,
                                    DnsType type) {
  ns_msg handle{};
  if (message.size() > INT_MAX ||
      ns_initparse(message.data(), static_cast<int>(message.size()), &handle) != 0 ||
      ns_msg_getflag(handle, ns_f_qr) == 0)
    return fail(Code::kInvalid, "what a name server sent for {} is no answer", name);
  const int code = ns_msg_getflag(handle, ns_f_rcode);
  if (code != ns_r_noerror && code != ns_r_nxdomain)
    return fail(Code::kUnavailable, "a name server cannot say what {} is (its code is {})", name,
                code);
  DnsRecords found;
  std::uint32_t ttl = UINT32_MAX;
  std::string owner = plain_name(name);
  for (int aliases = 0; aliases <= kAliasesMax; ++aliases) {
    std::string alias;
    for (int i = 0; i < ns_msg_count(handle, ns_s_an); ++i) {
      ns_rr record{};
      if (ns_parserr(&handle, ns_s_an, i, &record) != 0)
        return fail(Code::kInvalid, "the answer of a name server about {} is malformed", name);
      if (ns_rr_class(record) != ns_c_in || plain_name(ns_rr_name(record)) != owner) continue;
      if (ns_rr_type(record) == ns_t_cname) {
        alias = name_in(handle, record);
        ttl = std::min<std::uint32_t>(ttl, ns_rr_ttl(record));
      } else if (ns_rr_type(record) == static_cast<int>(type) &&
                 found.values.size() < kDnsValuesMax) {
        if (std::string value = value_of(handle, record, type); !value.empty())
          found.values.push_back(std::move(value));
        ttl = std::min<std::uint32_t>(ttl, ns_rr_ttl(record));
      }
    }
    if (!found.values.empty() || alias.empty()) break;
    owner = std::move(alias);
  }
  if (!found.values.empty()) found.ttl = std::chrono::seconds(ttl);
  return found;
}

std::string reverse_name(std::span<const std::uint8_t, 16> address) {
  constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::equal(kMapped.begin(), kMapped.end(), address.begin()))
    return fmt::format("{}.{}.{}.{}.in-addr.arpa", address[15], address[14], address[13],
                       address[12]);
  std::string name;
  for (std::size_t i = address.size(); i-- > 0;)
    fmt::format_to(std::back_inserter(name), "{:x}.{:x}.", address[i] & 15, address[i] >> 4);
  return name + "ip6.arpa";
}

Result<DnsRecords> DnsClient::ask(const std::string& name, DnsType type) const {
  State state;
  if (!state.ready())
    return fail(Code::kUnavailable,
                "/etc/resolv.conf cannot be read, so nobody can be asked for {}", name);
  state->retrans = static_cast<int>(timeout_.count());
  state->retry = kTries;
  if (server_.port != 0) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_.port);
    if (inet_pton(AF_INET, server_.host.c_str(), &address.sin_addr) != 1)
      return fail(Code::kInvalid, "the name server {} is no IPv4 address and port",
                  to_string(server_));
    state->nscount = 1;
    state->nsaddr_list[0] = address;
  }
  std::array<std::uint8_t, 512> question{};
  const int size =
      res_nmkquery(state.get(), ns_o_query, name.c_str(), ns_c_in, static_cast<int>(type), nullptr,
                   0, nullptr, question.data(), static_cast<int>(question.size()));
  if (size < 0) return fail(Code::kInvalid, "{} cannot be asked for: it is no name", name);
  std::vector<std::uint8_t> answer(kMessageMax);
  const int got =
      res_nsend(state.get(), question.data(), size, answer.data(), static_cast<int>(answer.size()));
  if (got < 0)
    return fail(Code::kUnavailable, "no name server answered what {} is within {} s", name,
                timeout_.count() * kTries);
  return parse_dns_answer(
      std::span(answer).first(std::min(static_cast<std::size_t>(got), answer.size())), name, type);
}

}  // namespace leeward::net
