#include "functions/code_store.h"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/file.h"
#include "base/token.h"
#include "functions/zip.h"

namespace leeward::functions {
namespace {

constexpr std::string_view kUnfinished = ".unfinished-";

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  ::EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, ::EVP_sha256(), nullptr);
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

}  // namespace

Result<CodeStore> CodeStore::open(const std::string& directory) {
  if (Status made = make_directories(directory); !made) return fail(made.error());
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored))
    if (entry.path().filename().string().starts_with(kUnfinished))
      std::filesystem::remove_all(entry.path(), ignored);
  return CodeStore(directory);
}

Result<CodeStore::Stored> CodeStore::put(std::string_view archive) const {
  Stored stored{sha256_hex(archive), archive.size()};
  const std::string target = directory_of(stored.sha256);
  std::error_code error;
  if (std::filesystem::exists(target, error)) return stored;
  auto token = random_token();
  if (!token) return fail(token.error());
  const std::string work = fmt::format("{}/{}{}", directory_, kUnfinished, token->substr(0, 16));
  if (::mkdir(work.c_str(), 0755) != 0) return fail(os_error(errno, "make " + work));
  Status unpacked = extract_zip(archive, work);
  if (unpacked) {
    ::chmod(work.c_str(), 0755);  // whoever the function runs as may read it
    std::filesystem::rename(work, target, error);
    // Another thread may have put the same archive meanwhile.
    if (error && !std::filesystem::exists(target))
      unpacked = fail(Code::kIo, "rename to {}: {}", target, error.message());
  }
  std::error_code ignored;
  std::filesystem::remove_all(work, ignored);
  if (!unpacked) return fail(unpacked.error());
  return stored;
}

void CodeStore::keep_only(const std::vector<std::string>& used) const {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kUnfinished) || std::find(used.begin(), used.end(), name) != used.end())
      continue;
    std::filesystem::remove_all(entry.path(), ignored);
  }
}

}  // namespace leeward::functions
