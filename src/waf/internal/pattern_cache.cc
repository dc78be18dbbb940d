#include "waf/internal/pattern_cache.h"

#include <hs/hs.h>
#include <openssl/sha.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/file.h"

namespace leeward::waf {
namespace {

constexpr std::string_view kMagic = "leeward waf patterns 1\n";
constexpr std::size_t kFileMax = 512u << 20;

void put_number(std::string& bytes, std::uint64_t number) {
  char raw[sizeof number];
  std::memcpy(raw, &number, sizeof number);
  bytes.append(raw, sizeof raw);
}

bool take_number(std::string_view& bytes, std::uint64_t& number) {
  if (bytes.size() < sizeof number) return false;
  std::memcpy(&number, bytes.data(), sizeof number);
  bytes.remove_prefix(sizeof number);
  return true;
}

}  // namespace

PatternCache::PatternCache() {
  key_ = hs_version();
  hs_platform_info platform{};
  if (hs_populate_platform(&platform) == HS_SUCCESS)
    key_ += fmt::format("\n{} {}\n", platform.tune, platform.cpu_features);
}

PatternCache::~PatternCache() {
  for (hs_database* database : loaded_) hs_free_database(database);
}

void PatternCache::add_key(const std::vector<std::string>& expressions,
                           const std::vector<unsigned>& flags, const std::vector<unsigned>& ids) {
  put_number(key_, expressions.size());
  for (std::size_t i = 0; i < expressions.size(); ++i) {
    put_number(key_, flags[i]);
    put_number(key_, ids[i]);
    put_number(key_, expressions[i].size());
    key_ += expressions[i];
  }
}

std::string PatternCache::digest() const {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(key_.data()), key_.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

bool PatternCache::load(const std::string& path, std::size_t count) {
  const auto file = read_file(path, kFileMax);
  if (!file) return false;
  const std::string head = std::string(kMagic) + digest();
  std::string_view rest = *file;
  if (!rest.starts_with(head)) return false;
  rest.remove_prefix(head.size());
  std::uint64_t size = 0;
  while (take_number(rest, size)) {
    if (size > rest.size()) return false;
    hs_database* database = nullptr;
    if (hs_deserialize_database(rest.data(), size, &database) != HS_SUCCESS) return false;
    loaded_.push_back(database);
    rest.remove_prefix(size);
  }
  return rest.empty() && loaded_.size() == count;
}

hs_database* PatternCache::take(std::size_t number) {
  return std::exchange(loaded_[number], nullptr);
}

void PatternCache::put(const hs_database* database) {
  char* bytes = nullptr;
  std::size_t size = 0;
  if (hs_serialize_database(database, &bytes, &size) != HS_SUCCESS) return;
  put_number(bytes_, size);
  bytes_.append(bytes, size);
  std::free(bytes);
}

Status PatternCache::store(const std::string& path) const {
  return write_file_durably(path, std::string(kMagic) + digest() + bytes_);
}

}  // namespace leeward::waf
