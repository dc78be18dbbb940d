#include "base/digest_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/file.h"
#include "base/token.h"

namespace leeward {
namespace {

constexpr std::string_view kUnfinished = ".unfinished-";

// As far as the disk: a directory that appears after a crash must not have empty files in it.
Status reach_disk(const std::string& directory, bool all) {
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || (all ? ::syncfs(fd.get()) : ::fsync(fd.get())) != 0)
    return fail(os_error(errno, "sync " + directory));
  return {};
}

void remove_if(const std::string& directory,
               const std::function<bool(const std::string&)>& unwanted) {
  std::error_code ignored;
  std::vector<std::filesystem::path> all;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored))
    if (unwanted(entry.path().filename().string())) all.push_back(entry.path());
  for (const auto& path : all) std::filesystem::remove_all(path, ignored);
}

}  // namespace

Result<DigestStore> DigestStore::open(const std::string& directory) {
  if (Status made = make_directories(directory); !made) return fail(made.error());
  return DigestStore(directory);
}

void DigestStore::remove_unfinished() const {
  remove_if(directory_, [](const std::string& name) { return name.starts_with(kUnfinished); });
}

bool DigestStore::has(const std::string& digest) const {
  std::error_code ignored;
  return std::filesystem::is_directory(directory_of(digest), ignored);
}

Status DigestStore::put(const std::string& digest,
                        const std::function<Status(const std::string& work)>& fill) const {
  if (has(digest)) return {};
  auto token = random_token();
  if (!token) return fail(token.error());
  const std::string work = fmt::format("{}/{}{}", directory_, kUnfinished, token->substr(0, 16));
  if (::mkdir(work.c_str(), 0755) != 0) return fail(os_error(errno, "make " + work));
  ::chmod(work.c_str(), 0755);  // against the umask: whoever runs what is in it may read it
  Status done = fill(work);
  if (done) done = reach_disk(work, true);
  if (done) {
    const std::string target = directory_of(digest);
    std::error_code error;
    std::filesystem::rename(work, target, error);
    // Another thread may have put the same meanwhile.
    if (error && !has(digest)) done = fail(Code::kIo, "rename to {}: {}", target, error.message());
  }
  std::error_code ignored;
  std::filesystem::remove_all(work, ignored);
  if (done) done = reach_disk(directory_, false);
  return done;
}

void DigestStore::keep_only(const std::set<std::string>& used) const {
  remove_if(directory_, [&](const std::string& name) {
    return !name.starts_with(kUnfinished) && !used.contains(name);
  });
}

}  // namespace leeward
