#include "app/tier_images.h"

#include <filesystem>

namespace leeward::app {
namespace {

constexpr std::size_t kJobsMax = 64;

}  // namespace

Result<std::unique_ptr<TierImages>> TierImages::open(net::EventLoop& loop, const std::string& store,
                                                     const std::string& directory) {
  auto opened = DigestStore::open(store);
  if (!opened) return fail(std::move(opened.error()));
  return std::unique_ptr<TierImages>(new TierImages(loop, std::move(*opened), directory));
}

TierImages::TierImages(net::EventLoop& loop, DigestStore store, std::string directory)
    : loop_(loop),
      store_(std::move(store)),
      directory_(std::move(directory)),
      reader_(1, kJobsMax),
      worker_(1, kJobsMax) {}

TierImages::~TierImages() { cancelled_ = true; }

std::string TierImages::at(const std::string& reference) const {
  return (std::filesystem::path(directory_) / reference).string();
}

template <typename T>
void TierImages::run(net::WorkerPool& pool, std::function<Result<T>()> work,
                     std::function<void(Result<T>)> done) {
  auto job = [this, work = std::move(work), done, alive = std::weak_ptr(alive_)] {
    auto result = std::make_shared<Result<T>>(work());
    loop_.post([result, done, alive] {
      if (!alive.expired()) done(std::move(*result));
    });
  };
  if (Status queued = pool.submit(std::move(job)); !queued) done(fail(queued.error()));
}

Result<std::string> TierImages::find(const std::string& reference) const {
  return compute::find_image(at(reference));
}

void TierImages::find(const std::string& reference, std::function<void(Result<std::string>)> done) {
  run<std::string>(
      reader_, [path = at(reference)] { return compute::find_image(path); }, std::move(done));
}

Result<compute::Image> TierImages::stored(const std::string& digest) const {
  return compute::stored_image(digest, store_);
}

Result<compute::Image> TierImages::unpack_now(const std::string& reference) const {
  return compute::unpack_image(at(reference), store_);
}

void TierImages::unpack(const std::string& reference,
                        std::function<void(Result<compute::Image>)> done) {
  run<compute::Image>(
      worker_,
      [this, path = at(reference)] { return compute::unpack_image(path, store_, {}, &cancelled_); },
      std::move(done));
}

void TierImages::keep_only(std::set<std::string> digests) {
  if (cleaned_ && digests == kept_) return;
  auto job = [this, digests] {
    store_.remove_unfinished();
    store_.keep_only(digests);
  };
  if (!worker_.submit(std::move(job))) return;  // busy; there is a next time
  kept_ = std::move(digests);
  cleaned_ = true;
}

}  // namespace leeward::app
