#include "mysql/gtid.h"

#include <charconv>

namespace leeward::mysql {
namespace {

constexpr std::size_t kGtidsMax = 4096;

template <typename Number>
bool take_number(std::string_view& text, Number& number) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

bool parse_one(std::string_view text, Gtid& gtid) {
  return take_number(text, gtid.domain) && take(text, '-') && take_number(text, gtid.server) &&
         take(text, '-') && take_number(text, gtid.sequence) && text.empty();
}

}  // namespace

std::string to_string(const Gtid& gtid) {
  return fmt::format("{}-{}-{}", gtid.domain, gtid.server, gtid.sequence);
}

Result<std::vector<Gtid>> parse_gtids(std::string_view text) {
  std::vector<Gtid> gtids;
  std::string_view rest = text;
  while (!rest.empty()) {
    std::size_t comma = rest.find(',');
    Gtid gtid;
    if (gtids.size() == kGtidsMax || !parse_one(rest.substr(0, comma), gtid))
      return fail(Code::kInvalid, "'{}' is not a list of GTIDs", text.substr(0, 80));
    gtids.push_back(gtid);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
    if (rest.empty()) return fail(Code::kInvalid, "a list of GTIDs ends with a comma");
  }
  return gtids;
}

Position GtidPosition::position() const {
  auto found = domains.find(0);
  return Position{found == domains.end() ? 0 : found->second.sequence};
}

std::uint32_t GtidPosition::server() const {
  auto found = domains.find(0);
  return found == domains.end() ? 0 : found->second.server;
}

std::string to_string(const GtidPosition& position) {
  std::string text;
  for (const auto& [domain, gtid] : position.domains) {
    if (!text.empty()) text += ',';
    text += to_string(gtid);
  }
  return text;
}

Result<GtidPosition> parse_gtid_position(std::string_view text) {
  auto gtids = parse_gtids(text);
  if (!gtids) return fail(std::move(gtids.error()));
  GtidPosition position;
  for (const Gtid& gtid : *gtids)
    if (!position.domains.emplace(gtid.domain, gtid).second)
      return fail(Code::kInvalid, "'{}' names domain {} twice", text.substr(0, 80), gtid.domain);
  return position;
}

GtidPosition later(const GtidPosition& a, const GtidPosition& b) {
  GtidPosition result = a;
  for (const auto& [domain, gtid] : b.domains) {
    Gtid& mine = result.domains.emplace(domain, gtid).first->second;
    if (gtid.sequence > mine.sequence) mine = gtid;
  }
  return result;
}

}  // namespace leeward::mysql
