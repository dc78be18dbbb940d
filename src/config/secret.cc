#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "config/config.h"

namespace leeward::config {
namespace {

constexpr std::size_t kSecretBytesMax = 64 * 1024;

// Permissions are asked of the open file, not of its name, so that it cannot be exchanged between.
Result<std::string> read_private_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    Error error = os_error(errno, "open secret " + path);
    if (errno == ENOENT) error.code = Code::kNotFound;
    return fail(std::move(error));
  }
  struct stat about {};
  if (::fstat(fd.get(), &about) != 0) return fail(os_error(errno, "stat secret " + path));
  if (!S_ISREG(about.st_mode)) return fail(Code::kInvalid, "secret {} is not a regular file", path);
  if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return fail(Code::kRefused, "secret {} is open to other users (mode {:04o}); run: chmod 600 {}",
                path, about.st_mode & 07777, path);
  std::string value;
  char buffer[4096];
  while (value.size() <= kSecretBytesMax) {
    ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(os_error(errno, "read secret " + path));
    if (n == 0) return value;
    value.append(buffer, static_cast<std::size_t>(n));
  }
  return fail(Code::kInvalid, "secret {} is longer than {} bytes", path, kSecretBytesMax);
}

}  // namespace

Result<std::string> resolve_secret(const SecretRef& secret, const std::string& directory) {
  std::string value;
  std::string where;
  switch (secret.kind) {
    case SecretRef::Kind::kNone:
      return fail(Code::kInvalid, "no secret is configured; write file:PATH or env:NAME");
    case SecretRef::Kind::kEnv: {
      where = "environment variable " + secret.where;
      const char* text = std::getenv(secret.where.c_str());
      if (text == nullptr) return fail(Code::kInvalid, "{} is not set", where);
      value = text;
      break;
    }
    case SecretRef::Kind::kFile: {
      where = (std::filesystem::path(directory) / secret.where).string();
      auto bytes = read_private_file(where);
      if (!bytes) return bytes;
      value = std::move(*bytes);
      break;
    }
  }
  if (value.ends_with('\n')) value.pop_back();
  if (value.ends_with('\r')) value.pop_back();
  if (value.empty()) return fail(Code::kInvalid, "secret {} is empty", where);
  return value;
}

}  // namespace leeward::config
