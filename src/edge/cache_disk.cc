#include "edge/cache_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "edge/internal/cache_record.h"

namespace leeward::edge {
namespace {

struct Segment {
  std::uint32_t id = 0;
  std::string path;
  std::shared_ptr<const UniqueFd> file;
  std::uint64_t size = 0;
  std::vector<std::uint64_t> prints;  // of the objects in it
};

struct Entry {
  std::uint32_t segment = 0;
  std::uint64_t offset = 0;
  std::uint32_t head_size = 0;
  std::uint64_t body_size = 0;
  std::uint64_t key_print =
      0;                 // of key, Vary and variant: which older entry it replaces; 0: unread
  bool checked = false;  // the body was held against its sum since the start
};

struct Slot {
  std::vector<Entry> entries;
  BootTime loaded_at;  // long ago at first
};

bool read_fully(int fd, std::uint64_t offset, std::size_t size, std::string& out) {
  out.resize(size);
  std::size_t done = 0;
  while (done < size) {
    ssize_t n = pread(fd, out.data() + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

bool write_fully(int fd, std::uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return true;
}

std::uint64_t print_of_key(const StoredObject& o) {
  std::string text(o.key_text());
  text.append("\x01").append(o.vary()).append("\x01").append(o.variant());
  text += static_cast<char>(o.coding);
  return hash_tag(text) | 1;
}

}  // namespace

struct DiskTier::Impl {
  Impl(std::string d, std::uint64_t max, Logger l)
      : directory(std::move(d)),
        bytes_max(max),
        segment_max(std::clamp<std::uint64_t>(max / 16, 1u << 20, 256u << 20)),
        logger(std::move(l)) {}

  // ---- start, before the thread
  Status open_segments();
  void scan(Segment& segment);
  void start() {
    thread = std::thread([this] { run(); });
  }

  // ---- the thread
  void run();
  void submit(std::function<void()> job, std::uint64_t bytes);
  Segment* segment_for(std::uint64_t record_size);
  void drop_oldest();
  bool append(RecordHeader header, std::string_view head, StoredObject* body, bool is_purge);
  void append_purge(RecordHeader header, const PurgeRecord& purge);
  void forget_all();
  void write_object(const std::shared_ptr<StoredObject>& object);
  std::shared_ptr<StoredObject> read_object(std::uint64_t print, const Entry& entry);
  void load_objects(std::uint64_t print, const Loaded& loaded);
  bool mark_checked(std::uint64_t print, const Entry& entry);
  void forget(std::uint64_t print, const Entry& entry);

  const std::string directory;
  const std::uint64_t bytes_max;
  const std::uint64_t segment_max;
  Logger logger;
  UniqueFd lock;  // the tier's thread; invalid: released

  mutable std::mutex mutex;  // guards all below but `segments`' files' contents
  std::condition_variable wake, idle;
  std::deque<std::pair<std::function<void()>, std::uint64_t>> queue;
  std::uint64_t queued_bytes = 0;
  bool busy = false;
  bool stopping = false;
  std::map<std::uint32_t, Segment> segments;
  std::unordered_map<std::uint64_t, Slot> slots;
  std::unordered_map<std::uint64_t, std::vector<Waiter>> loading;  // who waits for it
  struct FoundPurge {
    std::uint64_t number = 0;
    bool is_tag = false;
    PurgeRecord purge;
  };
  std::vector<FoundPurge> found_purges;  // in order, until restore()
  std::uint32_t last_id = 0;
  std::uint64_t last_number = 0;
  Stats stats;
  BootTime write_again_at{};
  std::thread thread;
};

Status DiskTier::Impl::open_segments() {
  if (auto made = make_directories(directory); !made) return made;
  auto locked = lock_file(directory + "/lock");
  if (!locked) return fail(std::move(locked.error()));
  lock = std::move(*locked);
  DIR* dir = opendir(directory.c_str());
  if (dir == nullptr) return fail(os_error(errno, "read " + directory));
  std::vector<std::uint32_t> ids;
  while (dirent* e = readdir(dir)) {
    unsigned id = 0;
    int used = 0;
    if (std::sscanf(e->d_name, "%8x.seg%n", &id, &used) == 1 && used == 12) ids.push_back(id);
  }
  closedir(dir);
  std::sort(ids.begin(), ids.end());
  for (std::uint32_t id : ids) {
    if (last_id != 0 && id != last_id + 1) slots.clear();  // one is missing: see scan()
    Segment s;
    s.id = id;
    s.path = fmt::format("{}/{:08x}.seg", directory, id);
    UniqueFd fd(::open(s.path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd.valid()) return fail(os_error(errno, "open " + s.path));
    s.file = std::make_shared<const UniqueFd>(std::move(fd));
    scan(s);
    last_id = id;
    segments.emplace(id, std::move(s));
  }
  return {};
}

void DiskTier::Impl::scan(Segment& s) {
  struct stat info {};
  fstat(s.file->get(), &info);
  std::uint64_t end = static_cast<std::uint64_t>(info.st_size), at = 0;
  std::string header_bytes, head;
  // A record that a crash has cut short, or kept from getting its header, is the last one. After
  // any other that cannot be read there may have been a purge, so what is older is not to be
  // trusted.
  bool torn = true;
  while (at + kRecordHeaderSize <= end) {
    if (!read_fully(s.file->get(), at, kRecordHeaderSize, header_bytes)) break;
    auto h = read_header(header_bytes);
    torn = h || header_bytes.find_first_not_of('\0') == std::string::npos;
    if (!h || at + kRecordHeaderSize + h->head_size + h->body_size > end) break;
    torn = read_fully(s.file->get(), at + kRecordHeaderSize, h->head_size, head) &&
           head_matches(*h, head);
    if (!torn) break;
    last_number = std::max(last_number, h->number);
    if (h->type == RecordType::kObject) {
      auto parts = read_object_head(head, SystemClock().now());
      if (parts) {
        StoredObject probe(*parts);
        Entry e{s.id, at, h->head_size, h->body_size, print_of_key(probe), false};
        auto& entries = slots[h->url_print].entries;
        std::erase_if(entries, [&](const Entry& o) { return o.key_print == e.key_print; });
        entries.push_back(e);
        s.prints.push_back(h->url_print);
      }
    } else if (auto purge = read_purge_head(head)) {
      if (h->type == RecordType::kPurgeUrl) {
        slots.erase(h->url_print);
      } else {
        found_purges.push_back({h->number, h->type == RecordType::kPurgeTag, std::move(*purge)});
      }
    }
    at += kRecordHeaderSize + h->head_size + h->body_size;
  }
  if (at < end) {  // torn by a crash, or not ours: cut off, so that new records follow good ones
    ++stats.corrupt;
    if (!torn) slots.clear();
    if (ftruncate(s.file->get(), static_cast<off_t>(at)) != 0) {
      logger.warn("a damaged cache segment cannot be cut", {{"segment", s.path}});
    }
  }
  s.size = at;
  stats.bytes += at;
}

void DiskTier::Impl::run() {
  std::unique_lock hold(mutex);
  for (;;) {
    wake.wait(hold, [this] { return stopping || !queue.empty(); });
    if (queue.empty()) return;
    auto [job, bytes] = std::move(queue.front());
    queue.pop_front();
    busy = true;
    hold.unlock();
    job();
    job = nullptr;  // what it holds goes without the lock
    hold.lock();
    queued_bytes -= bytes;
    busy = false;
    if (queue.empty()) idle.notify_all();
  }
}

void DiskTier::Impl::submit(std::function<void()> job, std::uint64_t bytes) {
  std::lock_guard hold(mutex);
  queue.emplace_back(std::move(job), bytes);
  queued_bytes += bytes;
  wake.notify_one();
}

// The segment that the next record goes to, made or opened as needed; null when that fails. The
// tier's thread only.
Segment* DiskTier::Impl::segment_for(std::uint64_t record_size) {
  std::lock_guard hold(mutex);
  if (record_size > bytes_max) return nullptr;
  while (!segments.empty() && stats.bytes + record_size > bytes_max) drop_oldest();
  if (!segments.empty()) {
    Segment& last = segments.rbegin()->second;
    if (last.size == 0 || last.size + record_size <= segment_max) return &last;
  }
  std::uint32_t id = last_id + 1;
  Segment s;
  s.id = id;
  s.path = fmt::format("{}/{:08x}.seg", directory, id);
  UniqueFd fd(::open(s.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return nullptr;
  s.file = std::make_shared<const UniqueFd>(std::move(fd));
  last_id = id;
  return &segments.emplace(id, std::move(s)).first->second;
}

void DiskTier::Impl::drop_oldest() {  // mutex held
  Segment& s = segments.begin()->second;
  for (std::uint64_t print : s.prints) {
    auto slot = slots.find(print);
    if (slot == slots.end()) continue;
    std::erase_if(slot->second.entries, [&](const Entry& e) { return e.segment == s.id; });
    if (slot->second.entries.empty()) slots.erase(slot);
  }
  unlink(s.path.c_str());
  stats.bytes -= s.size;
  segments.erase(segments.begin());
}

bool DiskTier::Impl::append(RecordHeader header, std::string_view head, StoredObject* body,
                            bool is_purge) {
  BootTime now = BootClock::now();
  if (!lock.valid() || (!is_purge && now < write_again_at)) return false;
  std::uint64_t size = kRecordHeaderSize + head.size() + header.body_size;
  Segment* s = segment_for(size);
  bool ok = s != nullptr;
  std::uint64_t at = ok ? s->size : 0;
  if (ok) {
    // The body first and the header last: a crash in between leaves no record.
    std::string chunk;
    std::uint64_t body_at = at + kRecordHeaderSize + head.size();
    for (std::uint64_t done = 0; ok && done < header.body_size; done += chunk.size()) {
      chunk.resize(std::min<std::uint64_t>(header.body_size - done, 1u << 20));
      ok = body->copy_body(done, chunk.size(), chunk.data()) &&
           write_fully(s->file->get(), body_at + done, chunk);
      header.body_sum = sum_of(chunk, done == 0 ? 0 : header.body_sum);
    }
    std::string front = write_header(header, head);
    front += head;
    ok = ok && write_fully(s->file->get(), at, front);
    if (ok && is_purge) ok = fdatasync(s->file->get()) == 0;
  }
  if (!ok) {
    int why = errno;
    if (s != nullptr && ftruncate(s->file->get(), static_cast<off_t>(at)) != 0) why = errno;
    write_again_at = now + kWriteRetry;
    logger.warn("the cache's disk tier cannot write and pauses",
                {{"directory", directory}, {"why", os_error(why, "write").message}});
    std::lock_guard hold(mutex);
    ++stats.dropped;
    return false;
  }
  std::lock_guard hold(mutex);
  s->size += size;
  stats.bytes += size;
  return true;
}

void DiskTier::Impl::append_purge(RecordHeader header, const PurgeRecord& purge) {
  if (!append(header, write_purge_head(purge), nullptr, true)) forget_all();
}

// A purge that is not written down would not hold after a restart, unless there is nothing left
// that it was for. Files can be removed from a disk that is full.
void DiskTier::Impl::forget_all() {
  std::lock_guard hold(mutex);
  if (!lock.valid()) return;  // the directory is another process's
  logger.warn("a purge could not be written; the cache's disk tier begins anew",
              {{"directory", directory}});
  for (const auto& [id, segment] : segments) {
    if (unlink(segment.path.c_str()) != 0)
      logger.error("what was purged may come back with a restart; remove the file",
                   {{"segment", segment.path}, {"why", os_error(errno, "unlink").message}});
  }
  UniqueFd names(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!names.valid() || fsync(names.get()) != 0)
    logger.error("a directory cannot be synced",
                 {{"directory", directory}, {"why", os_error(errno, "fsync").message}});
  segments.clear();
  slots.clear();
  stats.bytes = 0;
}

void DiskTier::Impl::write_object(const std::shared_ptr<StoredObject>& object) {
  RecordHeader h;
  h.body_size = object->size();
  h.url_print = hash_tag(object->url());
  h.number = object->purge_sequence;
  std::string head = write_object_head(*object, SystemClock().now());
  if (head.size() > kRecordHeadMax || kRecordHeaderSize + head.size() + h.body_size > bytes_max) {
    std::lock_guard hold(mutex);
    ++stats.dropped;
    return;
  }
  if (!append(h, head, object.get(), false)) return;
  std::lock_guard hold(mutex);
  Segment& s = segments.rbegin()->second;
  std::uint64_t size = kRecordHeaderSize + head.size() + h.body_size;
  Entry e{s.id,        s.size - size,         static_cast<std::uint32_t>(head.size()),
          h.body_size, print_of_key(*object), true};
  auto& slot = slots[h.url_print];
  std::erase_if(slot.entries, [&](const Entry& o) { return o.key_print == e.key_print; });
  slot.entries.push_back(e);
  s.prints.push_back(h.url_print);
}

std::shared_ptr<StoredObject> DiskTier::Impl::read_object(std::uint64_t print, const Entry& entry) {
  std::shared_ptr<const UniqueFd> file;
  {
    std::lock_guard hold(mutex);
    auto segment = segments.find(entry.segment);
    if (segment == segments.end()) return nullptr;
    file = segment->second.file;
  }
  std::string front, body;
  std::uint64_t body_at = entry.offset + kRecordHeaderSize + entry.head_size;
  if (!read_fully(file->get(), entry.offset, kRecordHeaderSize + entry.head_size, front)) {
    return nullptr;
  }
  auto h = read_header(front);
  std::string_view head = std::string_view(front).substr(kRecordHeaderSize);
  if (!h || !head_matches(*h, head) || h->url_print != print) return nullptr;
  auto parts = read_object_head(head, SystemClock().now());
  if (!parts) return nullptr;
  bool in_memory = h->body_size <= kMemoryBodyMax;
  if (!entry.checked || in_memory) {
    std::uint32_t sum = 0;
    std::string chunk;
    for (std::uint64_t done = 0; done < h->body_size; done += chunk.size()) {
      std::size_t n = std::min<std::uint64_t>(h->body_size - done, 1u << 20);
      if (!read_fully(file->get(), body_at + done, n, chunk)) return nullptr;
      sum = sum_of(chunk, sum);
      if (in_memory) body += chunk;
    }
    if (sum != h->body_sum) return nullptr;
  }
  if (h->body_size > kMemoryBodyMax) {
    parts->content = Content::of_file(file, body_at, h->body_size);
  } else if (h->body_size > StoredObject::kInlineBodyMax) {
    parts->content = Content::of(body);
  } else {
    parts->inline_body = body;
  }
  return std::make_shared<StoredObject>(*parts);
}

// False: it was purged or dropped meanwhile. mutex held.
bool DiskTier::Impl::mark_checked(std::uint64_t print, const Entry& entry) {
  auto slot = slots.find(print);
  if (slot == slots.end()) return false;
  for (Entry& e : slot->second.entries) {
    if (e.segment == entry.segment && e.offset == entry.offset) return e.checked = true;
  }
  return false;
}

void DiskTier::Impl::forget(std::uint64_t print, const Entry& entry) {
  std::lock_guard hold(mutex);
  ++stats.corrupt;
  auto slot = slots.find(print);
  if (slot == slots.end()) return;
  std::erase_if(slot->second.entries, [&](const Entry& e) {
    return e.segment == entry.segment && e.offset == entry.offset;
  });
  if (slot->second.entries.empty()) slots.erase(slot);
}

DiskTier::DiskTier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<DiskTier>> DiskTier::open(const std::string& directory,
                                                 std::uint64_t bytes_max, Logger logger) {
  auto impl = std::make_unique<Impl>(directory, bytes_max, std::move(logger));
  if (auto opened = impl->open_segments(); !opened) {
    return fail(std::move(opened.error()).wrap("cache directory " + directory));
  }
  impl->start();
  return std::unique_ptr<DiskTier>(new DiskTier(std::move(impl)));
}

DiskTier::~DiskTier() {
  {
    std::lock_guard hold(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
  impl_->thread.join();
}

void DiskTier::restore(PurgeRules& rules) {
  std::lock_guard hold(impl_->mutex);
  for (const auto& [number, is_tag, purge] : impl_->found_purges) {
    if (is_tag) {
      rules.restore_tag(number, purge.tag, purge.kind);
    } else {
      rules.restore_prefix(number, purge.text, purge.kind);
    }
  }
  rules.restore_sequence(impl_->last_number);
  impl_->found_purges.clear();
}

void DiskTier::write(std::shared_ptr<StoredObject> object) {
  std::uint64_t bytes = object->charge();
  {
    std::lock_guard hold(impl_->mutex);
    if (impl_->queued_bytes + bytes > kQueueBytesMax) {
      ++impl_->stats.dropped;
      return;
    }
  }
  impl_->submit([impl = impl_.get(), object = std::move(object)] { impl->write_object(object); },
                bytes);
}

void DiskTier::purge_url(std::string_view url) {
  std::uint64_t print = hash_tag(url);
  {
    std::lock_guard hold(impl_->mutex);
    // Nothing of it is on disk or on the way there: nothing to write down.
    if (impl_->slots.erase(print) == 0 && impl_->queue.empty() && !impl_->busy) return;
  }
  impl_->submit(
      [impl = impl_.get(), print, url = std::string(url)] {
        {
          std::lock_guard hold(impl->mutex);
          impl->slots.erase(print);  // what was queued before the purge
        }
        RecordHeader h;
        h.type = RecordType::kPurgeUrl;
        h.url_print = print;
        impl->append_purge(h, {PurgeKind::kHard, 0, url});
      },
      url.size());
}

void DiskTier::purge_tag(std::uint64_t tag, std::uint64_t number, PurgeKind kind) {
  impl_->submit(
      [impl = impl_.get(), tag, number, kind] {
        RecordHeader h;
        h.type = RecordType::kPurgeTag;
        h.number = number;
        impl->append_purge(h, {kind, tag, "tag"});
      },
      kRecordHeaderSize);
}

void DiskTier::purge_prefix(std::string_view prefix, std::uint64_t number, PurgeKind kind) {
  impl_->submit(
      [impl = impl_.get(), prefix = std::string(prefix), number, kind] {
        RecordHeader h;
        h.type = RecordType::kPurgePrefix;
        h.number = number;
        impl->append_purge(h, {kind, 0, prefix});
      },
      kRecordHeaderSize + prefix.size());
}

bool DiskTier::load(std::string_view url, Waiter waiter, Now now, Loaded loaded) {
  std::uint64_t print = hash_tag(url);
  {
    std::lock_guard hold(impl_->mutex);
    auto loading = impl_->loading.find(print);
    if (loading == impl_->loading.end()) {
      auto slot = impl_->slots.find(print);
      if (slot == impl_->slots.end() || impl_->queued_bytes > kQueueBytesMax) return false;
      if (slot->second.loaded_at != BootTime{} && now.boot < slot->second.loaded_at + kReloadAfter)
        return false;
    }
    std::vector<Waiter>& waiters = impl_->loading[print];
    const bool known = std::any_of(waiters.begin(), waiters.end(), [&](const Waiter& w) {
      return w.loop == waiter.loop && w.token == waiter.token;
    });
    if (!known) waiters.push_back(waiter);
    if (loading != impl_->loading.end()) return true;
  }
  impl_->submit([impl = impl_.get(), print,
                 loaded = std::move(loaded)] { impl->load_objects(print, loaded); },
                kRecordHeaderSize);
  return true;
}

void DiskTier::Impl::load_objects(std::uint64_t print, const Loaded& loaded) {
  std::vector<Entry> entries;
  {
    std::lock_guard hold(mutex);
    auto slot = slots.find(print);
    if (slot != slots.end()) {
      slot->second.loaded_at = BootClock::now();
      entries = slot->second.entries;
    }
  }
  for (const Entry& e : entries) {
    auto object = read_object(print, e);
    if (object == nullptr) {
      forget(print, e);
      continue;
    }
    // Under the lock: who purges takes the entry away, then what is in memory.
    std::lock_guard hold(mutex);
    if (mark_checked(print, e)) loaded(std::move(object));
  }
  std::vector<Waiter> waiters;
  {
    std::lock_guard hold(mutex);
    waiters = std::move(loading[print]);
    loading.erase(print);
  }
  for (const Waiter& w : waiters)
    if (w.loop != nullptr) w.loop->wake(w.token);
}

void DiskTier::flush() {
  std::unique_lock hold(impl_->mutex);
  impl_->idle.wait(hold, [this] { return impl_->queue.empty() && !impl_->busy; });
}

void DiskTier::release() {
  std::promise<void> released;
  impl_->submit(
      [impl = impl_.get(), &released] {
        {
          std::lock_guard hold(impl->mutex);
          impl->slots.clear();
        }
        impl->lock.reset();
        released.set_value();
      },
      0);
  released.get_future().wait();
}

DiskTier::Stats DiskTier::stats() const {
  std::lock_guard hold(impl_->mutex);
  Stats s = impl_->stats;
  s.objects = 0;
  for (const auto& [print, slot] : impl_->slots) s.objects += slot.entries.size();
  return s;
}

}  // namespace leeward::edge
