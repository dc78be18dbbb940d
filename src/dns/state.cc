#include "dns/state.h"

#include <charconv>

#include "base/file.h"

namespace leeward::dns {
namespace {

constexpr std::string_view kTitle = "leeward-dns-state 1";
constexpr std::size_t kFileBytesMax = 4096;

std::uint64_t checksum(std::string_view bytes) {  // FNV-1a: finds damage, not malice
  std::uint64_t hash = 14695981039346656037u;
  for (char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

// Reads "key value\n" lines in their order; remembers the first failure.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : all_(text), rest_(text) {}

  std::string_view value(std::string_view key) {
    ++line_;
    auto end = rest_.find('\n');
    std::string_view line = rest_.substr(0, end);
    bool good = end != std::string_view::npos && line.starts_with(key) &&
                line.size() > key.size() + 1 && line[key.size()] == ' ';
    if (!good) {
      note(key);
      return {};
    }
    rest_.remove_prefix(end + 1);
    return line.substr(key.size() + 1);
  }

  template <typename T>
  T number(std::string_view key, int base = 10) {
    std::string_view text = value(key);
    T parsed{};
    auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), parsed, base);
    if (error != std::errc{} || rest != text.data() + text.size()) note(key);
    return parsed;
  }

  std::string_view before() const { return all_.substr(0, all_.size() - rest_.size()); }
  bool at_end() const { return rest_.empty(); }
  const Status& status() const { return status_; }

 private:
  void note(std::string_view key) {
    if (status_) status_ = fail(Code::kCorrupt, "line {} is not '{} …'", line_, key);
    rest_ = {};
  }

  std::string_view all_;
  std::string_view rest_;
  int line_ = 0;
  Status status_;
};

}  // namespace

std::string format_state(const SavedState& state) {
  std::string text =
      fmt::format("{}\nactive {}\nepoch {}\nrecord {}\nserial {}\n", kTitle, state.active_site,
                  state.epoch.value, state.record_version, state.serial);
  text += fmt::format("checksum {:x}\n", checksum(text));
  return text;
}

Result<SavedState> parse_state(std::string_view text) {
  LineReader lines(text);
  SavedState state;
  std::string_view version = lines.value("leeward-dns-state");
  state.active_site = lines.value("active");
  state.epoch.value = lines.number<std::uint64_t>("epoch");
  state.record_version = lines.number<std::uint64_t>("record");
  state.serial = lines.number<std::uint32_t>("serial");
  std::uint64_t expected = checksum(lines.before());
  auto found = lines.number<std::uint64_t>("checksum", 16);
  if (!lines.status()) return fail(lines.status().error());
  if (version != "1") return fail(Code::kCorrupt, "format version '{}' is unknown", version);
  if (found != expected) return fail(Code::kCorrupt, "the checksum does not match");
  if (!lines.at_end()) return fail(Code::kCorrupt, "there is text after the checksum");
  return state;
}

Result<std::optional<SavedState>> load_state(const std::string& path) {
  auto text = read_file(path, kFileBytesMax);
  if (!text && text.error().code == Code::kNotFound) return std::nullopt;
  if (!text && text.error().code == Code::kInvalid)
    text.error().code = Code::kCorrupt;  // too large
  if (!text) return fail(text.error());
  auto state = parse_state(*text);
  if (!state) return fail(std::move(state.error()).wrap(path));
  return *state;
}

Status save_state(const std::string& path, const SavedState& state) {
  return write_file_durably(path, format_state(state));
}

}  // namespace leeward::dns
