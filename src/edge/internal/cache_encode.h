// Compressed forms of stored objects, made once and kept beside them. The first hit by a client
// that takes a coding has it made in the background and gets the plain form; later ones get the
// coded one. A thread of its own does the work.
//
// Bounds: bodies between kBodyMin and kBodyMax; kQueueMax objects wait, what comes above is tried
// at a later hit. A coded form that saves less than a tenth is not kept.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "edge/internal/cache_object.h"

namespace leeward::edge {

// gzip level 6, zstd level 7, brotli quality 6. nullopt when the
// library fails (out of memory).
std::optional<std::string> encode(Coding coding, std::string_view bytes);

class Encoder {
 public:
  static constexpr std::size_t kBodyMin = 512;
  static constexpr std::size_t kBodyMax = 4u << 20;
  static constexpr std::size_t kQueueMax = 256;

  using Store = std::function<void(const StoredObject& plain, std::shared_ptr<StoredObject> coded)>;

  // `store` is called on the encoder's thread with each form that is worth keeping.
  explicit Encoder(Store store);
  ~Encoder();

  // Adds Accept-Encoding to the Vary of a response that may be encoded later, so that caches behind
  // us keep its forms apart (RFC 9110 §12.5.5). `length`: of its body, where known.
  static void announce(int status, std::string& lines, bool no_transform,
                       std::optional<std::uint64_t> length);

  // Called at a hit: queues the best coding that the client takes, if the object is one to encode
  // and that was not tried yet. Cheap when there is nothing to do.
  void offer(const std::shared_ptr<StoredObject>& object, Fields request);

  void flush();  // waits until the queue is empty

 private:
  void run();
  void make(const std::shared_ptr<StoredObject>& object, Coding coding);

  Store store_;
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::deque<std::pair<std::shared_ptr<StoredObject>, Coding>> queue_;
  bool busy_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace leeward::edge
