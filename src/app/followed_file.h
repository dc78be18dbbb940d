// A small file that another process replaces: read at once and after each change.
//
// Watched by inotify on its directory, because a file that is replaced is another file. On the
// loop's thread, which must outlive it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "net/loop.h"

namespace leeward::app {

class FollowedFile {
 public:
  static constexpr std::size_t kBytesMax = 16u << 20;  // more: an error
  // `text` is empty as long as there is no file.
  using OnChange = std::function<void(const Result<std::string>& text)>;

  // Creates the directory. Calls `on_change` from inside start() for what is there.
  static Result<std::unique_ptr<FollowedFile>> start(net::EventLoop& loop, const std::string& path,
                                                     OnChange on_change);
  ~FollowedFile();
  FollowedFile(const FollowedFile&) = delete;
  FollowedFile& operator=(const FollowedFile&) = delete;

 private:
  FollowedFile(net::EventLoop& loop, std::string path, OnChange on_change)
      : loop_(loop), path_(std::move(path)), on_change_(std::move(on_change)) {}
  void read();

  net::EventLoop& loop_;
  const std::string path_;
  OnChange on_change_;
  UniqueFd inotify_;
  net::WatchId watch_;
};

}  // namespace leeward::app
