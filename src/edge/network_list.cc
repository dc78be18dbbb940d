#include "edge/network_list.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

namespace leeward::edge {
namespace {

__extension__ using Wide = unsigned __int128;

struct Address {
  Wide value = 0;  // IPv4: the low 32 bits
  bool v4 = false;
  int bits() const { return v4 ? 32 : 128; }
};

struct Span {
  Address first;
  Address last;
};

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return text.substr(text.size());
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string_view unquote(std::string_view text) {
  text = trim(text);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    return text.substr(1, text.size() - 2);
  return text;
}

std::optional<Address> parse_address(std::string_view text) {
  const std::optional<ClientAddress> client = parse_client_address(text);
  if (!client) return {};
  Address a;
  a.v4 = client->is_v4() && text.find(':') == std::string_view::npos;
  for (std::size_t i = a.v4 ? 12 : 0; i < sizeof client->bytes; ++i)
    a.value = a.value << 8 | client->bytes[i];
  return a;
}

Wide host_mask(const Address& a, int prefix) {
  int host = a.bits() - prefix;
  return host == 128 ? ~Wide{0} : (Wide{1} << host) - 1;
}

}  // namespace

NetworkList::Value country_value(std::string_view code) {
  if (code.size() != 2) return 0;
  int letters[2];
  for (int i = 0; i < 2; ++i) {
    letters[i] = std::toupper(static_cast<unsigned char>(code[static_cast<std::size_t>(i)])) - 'A';
    if (letters[i] < 0 || letters[i] > 25) return 0;
  }
  return static_cast<NetworkList::Value>(letters[0] * 26 + letters[1] + 1);
}

class NetworkListParser {
 public:
  NetworkListParser(std::string_view file, bool countries) : file_(file), countries_(countries) {}

  Result<NetworkList> parse(std::string_view text) {
    while (!text.empty()) {
      std::size_t end = text.find('\n');
      line_ = text.substr(0, end);
      if (++number_ > NetworkList::kLinesMax)
        return problem(line_, "too many lines; 4 million at most");
      if (Status read = read_line(); !read) return fail(std::move(read.error()));
      if (end == std::string_view::npos) break;
      text.remove_prefix(end + 1);
    }
    if (Status sorted = settle(list_.v4_); !sorted) return fail(std::move(sorted.error()));
    if (Status sorted = settle(list_.v6_); !sorted) return fail(std::move(sorted.error()));
    return std::move(list_);
  }

 private:
  tl::unexpected<Error> problem(std::string_view where, std::string what) const {
    return fail(Code::kInvalid, "{}:{}:{}: {}", file_, number_, where.data() - line_.data() + 1,
                what);
  }

  Status read_line() {
    std::string_view text = trim(line_.substr(0, line_.find('#')));
    if (text.empty()) return {};
    NetworkList::Value value = 1;
    std::string_view network = text;
    if (countries_) {
      std::size_t comma = text.rfind(',');
      if (comma == std::string_view::npos)
        return problem(text, "no country; write NETWORK,COUNTRY or FIRST,LAST,COUNTRY");
      std::string_view code = unquote(text.substr(comma + 1));
      value = country_value(code);
      if (value == 0)
        return problem(code, "'" + std::string(code) + "' is not a country of two letters");
      network = trim(text.substr(0, comma));
    }
    auto span = read_span(network);
    if (!span) return fail(std::move(span.error()));
    if (span->first.v4)
      list_.v4_.push_back({static_cast<std::uint32_t>(span->first.value),
                           static_cast<std::uint32_t>(span->last.value), value, number_});
    else
      list_.v6_.push_back({span->first.value, span->last.value, value, number_});
    return {};
  }

  Result<Span> read_span(std::string_view network) const {
    std::size_t middle = network.find(countries_ ? ',' : '-');
    if (middle == std::string_view::npos) return read_network(unquote(network));
    auto first = read_address(unquote(network.substr(0, middle)));
    if (!first) return fail(std::move(first.error()));
    std::string_view last_text = unquote(network.substr(middle + 1));
    auto last = read_address(last_text);
    if (!last) return fail(std::move(last.error()));
    if (first->v4 != last->v4) return problem(last_text, "a range of IPv4 to IPv6");
    if (last->value < first->value) return problem(last_text, "the range ends before it begins");
    return Span{*first, *last};
  }

  Result<Span> read_network(std::string_view text) const {
    std::size_t slash = text.find('/');
    auto address = read_address(text.substr(0, slash));
    if (!address) return fail(std::move(address.error()));
    if (slash == std::string_view::npos) return Span{*address, *address};
    std::string_view length = text.substr(slash + 1);
    int prefix = -1;
    auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), prefix);
    if (error != std::errc{} || end != length.data() + length.size() || prefix < 0 ||
        prefix > address->bits())
      return problem(length,
                     fmt::format("'{}' is not a prefix length of 0 … {}", length, address->bits()));
    Wide host = host_mask(*address, prefix);
    if ((address->value & host) != 0)
      return problem(text, fmt::format("'{}' has bits set beyond /{}; leave them 0, or write the "
                                       "address alone",
                                       text, prefix));
    Address last = *address;
    last.value |= host;
    return Span{*address, last};
  }

  Result<Address> read_address(std::string_view text) const {
    if (auto address = parse_address(text)) {
      if (!address->v4 && address->value >> 32 == 0xffff)
        return problem(
            text, fmt::format("'{}' is an IPv4 address in IPv6 clothes; write it as IPv4", text));
      return *address;
    }
    return problem(text, fmt::format("'{}' is neither an IPv4 nor an IPv6 address", text));
  }

  // Sorted; neighbours and overlaps of one value are joined.
  template <typename A>
  Status settle(std::vector<NetworkList::Range<A>>& ranges) {
    std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first < b.first : a.last < b.last;
    });
    std::size_t kept = 0;
    for (std::size_t i = 1; i < ranges.size(); ++i) {
      auto& before = ranges[kept];
      const auto& next = ranges[i];
      if (next.first <= before.last && next.value != before.value)
        return fail(Code::kInvalid, "{}:{}:1: overlaps line {}, which is of another country", file_,
                    std::max(next.line, before.line), std::min(next.line, before.line));
      bool touches = next.first <= before.last || next.first - 1 == before.last;
      if (touches && next.value == before.value)
        before.last = std::max(before.last, next.last);
      else
        ranges[++kept] = next;
    }
    if (!ranges.empty()) ranges.resize(kept + 1);
    ranges.shrink_to_fit();
    return {};
  }

  std::string_view file_;
  bool countries_;
  std::string_view line_;
  std::uint32_t number_ = 0;
  NetworkList list_;
};

namespace {

template <typename A>
NetworkList::Value find_in(const std::vector<NetworkList::Range<A>>& ranges, A address) {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), address,
                                [](A a, const auto& range) { return a < range.first; });
  if (after == ranges.begin()) return 0;
  const auto& range = *std::prev(after);
  return address <= range.last ? range.value : NetworkList::Value{0};
}

}  // namespace

Result<NetworkList> NetworkList::parse(std::string_view text, std::string_view file) {
  return NetworkListParser(file, false).parse(text);
}

Result<NetworkList> NetworkList::parse_countries(std::string_view text, std::string_view file) {
  return NetworkListParser(file, true).parse(text);
}

NetworkList::Value NetworkList::find(const ClientAddress& address) const {
  if (address.is_v4()) {
    std::uint32_t v4 = 0;
    for (int i = 12; i < 16; ++i) v4 = v4 << 8 | address.bytes[i];
    return find_in(v4_, v4);
  }
  Wide v6 = 0;
  for (unsigned char byte : address.bytes) v6 = v6 << 8 | byte;
  return find_in(v6_, v6);
}

}  // namespace leeward::edge
