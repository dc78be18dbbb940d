#include "app/followed_file.h"

#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <filesystem>

namespace leeward::app {

Result<std::unique_ptr<FollowedFile>> FollowedFile::start(net::EventLoop& loop,
                                                          const std::string& path,
                                                          OnChange on_change) {
  const std::string directory = std::filesystem::absolute(path).parent_path().string();
  if (Status there = make_directories(directory); !there) return fail(there.error());
  std::unique_ptr<FollowedFile> file(new FollowedFile(loop, path, std::move(on_change)));
  file->inotify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!file->inotify_.valid()) return fail(os_error(errno, "inotify"));
  constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE;
  if (::inotify_add_watch(file->inotify_.get(), directory.c_str(), kEvents) < 0)
    return fail(os_error(errno, "watch " + directory));
  auto watch = loop.watch_readable(file->inotify_.get(), [raw = file.get()] {
    std::array<char, 4096> events;  // which of them does not matter: the file is read again
    while (::read(raw->inotify_.get(), events.data(), events.size()) > 0) {
    }
    raw->read();
  });
  if (!watch) return fail(watch.error());
  file->watch_ = *watch;
  file->read();
  return file;
}

FollowedFile::~FollowedFile() {
  if (watch_.value != 0) loop_.unwatch(watch_);
}

void FollowedFile::read() {
  auto text = read_file(path_, kBytesMax);
  if (!text && text.error().code == Code::kNotFound) text = std::string();
  on_change_(text);
}

}  // namespace leeward::app
