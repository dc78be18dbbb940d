// The images of a site's tiers, unpacked below the agent's state (compute/image.h).
//
// On the loop's thread; unpacking and removing run on a thread of their own, one after the other,
// and results come back on the loop, none after this object's end. find() and unpack_now() block:
// they are for the start of an agent.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/digest_store.h"
#include "compute/image.h"
#include "model/platform.h"
#include "net/loop.h"

namespace leeward::app {

class TierImages {
 public:
  // `store` is made when it is not there. Relative paths of images begin at `directory`. kIo.
  static Result<std::unique_ptr<TierImages>> open(net::EventLoop& loop, const std::string& store,
                                                  const std::string& directory);
  ~TierImages();  // cancels what runs

  // What stands in `reference` at this moment. Reads the image's documents only.
  Result<std::string> find(const std::string& reference) const;
  void find(const std::string& reference, std::function<void(Result<std::string>)> done);

  Result<compute::Image> stored(const std::string& digest) const;
  Result<compute::Image> unpack_now(const std::string& reference) const;
  void unpack(const std::string& reference, std::function<void(Result<compute::Image>)> done);

  // Removes all others, and what an earlier life left unfinished.
  void keep_only(std::set<std::string> digests);

 private:
  TierImages(net::EventLoop& loop, DigestStore store, std::string directory);
  std::string at(const std::string& reference) const;
  template <typename T>
  void run(net::WorkerPool& pool, std::function<Result<T>()> work,
           std::function<void(Result<T>)> done);

  net::EventLoop& loop_;
  DigestStore store_;
  std::string directory_;
  std::set<std::string> kept_;
  bool cleaned_ = false;
  std::atomic<bool> cancelled_{false};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  // Last: joined before what their jobs use is gone. Who asks what an image is does not wait for
  // another to be unpacked.
  net::WorkerPool reader_, worker_;
};

}  // namespace leeward::app
