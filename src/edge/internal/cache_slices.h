// Large objects in slices. Under a policy with `slice_bytes`, what is stored of a large
// representation is a manifest and slices:
//
//   manifest  an object without a body under the URL's own key: head, validators, freshness, whole
//             length, the size of its slices, and a generation number that no other has
//   slice k   the bytes from k * slice_bytes on, under a key made of URL, generation and k
//
// Everything that decides looks at the manifest: conditions, ranges, freshness, Vary, purges. A
// slice is found through its manifest only, so a purged manifest takes its slices with it, whatever
// their number; what nobody can find any more is evicted as what nobody asks for. A slice needs no
// freshness of its own: it belongs to one representation, named by a strong entity tag, and its
// bytes never change (RFC 9110 §8.8.1). Without a strong entity tag nothing is cut.
//
// Who wants bytes that are not here fetches the slice they are in, by Range under If-Range
// (RFC 9110 §13.1.5, §14.2), in an exchange of its own: a client that leaves, or a seek, costs the
// origin one slice at most. An origin that has another representation by then ends the answers
// that are under way: their head promised the old one.
#pragma once

#include <memory>

#include "edge/internal/cache_impl.h"

namespace leeward::edge {

// Which slice a request's first byte is in, as far as its Range says without the whole length.
std::uint64_t first_slice_of(const RequestView& request, std::uint64_t slice_bytes);
// "bytes=…" of slice `index`.
std::string slice_range(std::uint64_t index, std::uint64_t slice_bytes);
// Whether a 206 is exactly slice `index` of a representation that can be cut: with a strong entity
// tag and of identified length.
bool is_slice(const ResponseView& response, std::uint64_t index, std::uint64_t slice_bytes);
// A number that no manifest has had, in this process or (almost certainly) another.
std::uint64_t new_generation();

// Keeps the bytes of one slice as they arrive. The owner has checked the response. When the cache
// has no room, whoever reads along still gets the slice: its bytes are held, beyond the cache's
// bound, until the last of them has them.
class SliceStore {
 public:
  SliceStore(HttpCache::Impl& cache, const ObjectPtr& manifest, std::uint64_t index, BootTime now);
  ~SliceStore();
  Fill::More append(std::string_view bytes);
  void finish();
  void abort();
  const ObjectPtr& growing() const { return growing_; }

 private:
  HttpCache::Impl& cache_;
  StoredObject::Parts parts_;
  const std::string key_;
  const std::uint64_t size_;
  std::shared_ptr<Content> content_;
  ObjectPtr growing_;
  std::uint64_t reserved_ = 0;  // 0: there was no room
  bool done_ = false;
};

// The body of one answer over a manifest. `first`: a slice that is being fetched already, or null.
// One thread's, as its answer is.
std::shared_ptr<Body> make_sliced_body(HttpCache::Impl& cache, ObjectPtr manifest, ObjectPtr first);

}  // namespace leeward::edge
