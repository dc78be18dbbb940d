#include "edge/internal/origin_h2.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "edge/internal/h2_fields.h"
#include "edge/internal/origin_stream_h2.h"
#include "edge/internal/tls.h"

namespace leeward::edge {
namespace {

constexpr std::size_t kWriteBytes = 64u << 10;  // gathered for one write
// What is sent and not acknowledged for this long says that nobody is there: all streams share it.
constexpr unsigned kUserTimeoutMilliseconds = 10'000;

}  // namespace

// All run inside of nghttp2_session_mem_recv() or _mem_send().
struct OriginH2::Callbacks {
  static OriginH2& self(void* user) { return *static_cast<OriginH2*>(user); }
  static OriginStreamH2* stream_of(nghttp2_session* session, std::int32_t id) {
    return static_cast<OriginStreamH2*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int on_header(nghttp2_session* session, const nghttp2_frame* frame,
                       const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value,
                       std::size_t value_size, std::uint8_t, void* user) {
    OriginStreamH2* stream = stream_of(session, frame->hd.stream_id);
    if (stream != nullptr && !stream->add_field({reinterpret_cast<const char*>(name), name_size},
                                                {reinterpret_cast<const char*>(value), value_size}))
      self(user).bad_reply_ = true;
    return 0;
  }

  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    OriginH2& link = self(user);
    OriginStreamH2* stream = stream_of(session, frame->hd.stream_id);
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        if (stream != nullptr) stream->on_fields_end(end);
        break;
      case NGHTTP2_DATA:
        break;
      case NGHTTP2_SETTINGS:
        link.ready_ = true;
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) link.refuse_what_is_too_much();
        return 0;
      case NGHTTP2_GOAWAY:
        link.going_away_ = true;
        link.retire();
        return 0;
      default:
        return 0;
    }
    if (stream != nullptr && end) stream->on_end();
    return 0;
  }

  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id,
                     const std::uint8_t* bytes, std::size_t size, void*) {
    nghttp2_session_consume_connection(session, size);
    if (OriginStreamH2* stream = stream_of(session, id))
      stream->on_body({reinterpret_cast<const char*>(bytes), size});
    return 0;
  }

  static int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void*) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (OriginStreamH2* stream = stream_of(session, frame->hd.stream_id)) stream->on_sent();
    return 0;
  }

  static int on_close(nghttp2_session* session, std::int32_t id, std::uint32_t error, void* user) {
    OriginH2& link = self(user);
    OriginStreamH2* stream = stream_of(session, id);
    if (stream == nullptr) return 0;
    nghttp2_session_set_stream_user_data(session, id, nullptr);
    stream->on_close(error, link.going_away_);
    link.streams_.erase(stream);
    link.stir();
    return 0;
  }

  // One table for all connections of the process; immutable once made.
  static const nghttp2_session_callbacks* table() {
    static const auto callbacks = [] {
      nghttp2_session_callbacks* made = nullptr;
      LEEWARD_CHECK(nghttp2_session_callbacks_new(&made) == 0);
      nghttp2_session_callbacks_set_on_header_callback(made, on_header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, on_frame);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, on_data);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, on_sent);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, on_close);
      return std::unique_ptr<nghttp2_session_callbacks, decltype(&nghttp2_session_callbacks_del)>(
          made, nghttp2_session_callbacks_del);
    }();
    return callbacks.get();
  }
};

OriginH2::OriginH2(Loop& loop) : loop_(loop), timer_(*this) {}
OriginH2::~OriginH2() = default;

// ---- beginning

void OriginH2::connect(std::shared_ptr<GroupState> group, std::size_t origin, std::string preamble,
                       bool exclusive) {
  nghttp2_option* option = nullptr;
  LEEWARD_CHECK(nghttp2_option_new(&option) == 0);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_session* session = nullptr;
  const int made = nghttp2_session_client_new2(&session, Callbacks::table(), this, option);
  nghttp2_option_del(option);
  LEEWARD_CHECK(made == 0);
  session_.reset(session);
  const auto& limits = loop_.snapshot().config.limits;
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(kWindow)},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(limits.head_bytes_max)}};
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  retired_ = exclusive;
  if (!exclusive) group->origins[origin].multiplexed.push_back(this);
  if (socket_.connect(loop_, *this, std::move(group), origin, std::move(preamble))) {
    setsockopt(io_.fd(), IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMilliseconds,
               sizeof kUserTimeoutMilliseconds);
    loop_.wheel().arm(timer_, loop_.now() + loop_.snapshot().config.timeouts.connect);
  }
  stir();  // one that could not even begin fails there
}

void OriginH2::establish() {
  const OriginSocket::State before = socket_.state();
  switch (socket_.advance()) {
    case OriginSocket::State::kFailed:
      return die(OriginFault::kConnect);
    case OriginSocket::State::kOpen:
      if (secure() && negotiated_protocol(io_.ssl()) != "h2") {
        socket_.report_tls_failure("it does not speak HTTP/2 (ALPN)");
        return die(OriginFault::kConnect);
      }
      open_ = true;
      return arm();
    default:
      if (before == OriginSocket::State::kConnecting)
        loop_.wheel().arm(timer_, loop_.now() + loop_.snapshot().config.timeouts.connect);
  }
}

std::size_t OriginH2::streams_max() const {
  return std::min<std::size_t>(
      kStreamsMax,
      nghttp2_session_get_remote_settings(session_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
}

bool OriginH2::has_room() const {
  return !dead_ && !broken_ && !retired_ && socket_.current() && streams_.size() < streams_max() &&
         nghttp2_session_check_request_allowed(session_.get()) != 0;
}

OriginStream& OriginH2::open(OriginUser& user, std::size_t slot) {
  auto stream = std::make_unique<OriginStreamH2>(*this, user, slot);
  OriginStreamH2& s = *stream;
  streams_.emplace(&s, std::move(stream));
  if (open_) arm();
  return s;
}

// The origin's SETTINGS came after we had begun with more than they allow.
void OriginH2::refuse_what_is_too_much() {
  std::size_t surplus = streams_.size() - std::min(streams_.size(), streams_max());
  std::vector<OriginStreamH2*> unsent;
  for (auto& [stream, owned] : streams_)
    if (!stream->sent() && unsent.size() < surplus) unsent.push_back(stream);
  for (OriginStreamH2* stream : unsent) stream->refuse();
}

// ---- reading

void OriginH2::on_events(std::uint32_t events) {
  if (dead_) return;
  if (io_.note(events)) readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
  if (io_.ssl() != nullptr) readable_ = writable_ = true;
  if (!open_ && writable_) establish();
  if (!dead_) on_deferred();
}

void OriginH2::read_more() {
  while (readable_ && !broken_ && out_.size() < kWriteBytes) {
    const auto moved = io_.read({loop_.scratch(), Loop::kScratchBytes});
    if (moved.result == Transport::Result::kAgain) {
      readable_ = false;
      break;
    }
    if (moved.result != Transport::Result::kOk) {
      if (moved.result == Transport::Result::kError && !going_away_) socket_.report_tls_failure();
      broken_ = true;
      break;
    }
    receive({loop_.scratch(), moved.bytes});
    if (io_.emptied_by(moved.bytes, Loop::kScratchBytes)) readable_ = false;
  }
}

void OriginH2::receive(std::string_view bytes) {
  const ssize_t used = nghttp2_session_mem_recv(
      session_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (used < 0) bad_reply_ = true;
  if (bad_reply_) broken_ = true;
}

// ---- writing

void OriginH2::on_deferred() {
  if (dead_) return;
  if (!io_.is_open()) return die(OriginFault::kConnect);
  if (!open_) return;
  read_more();
  for (OriginStreamH2* stream : std::exchange(unsettled_, {}))
    if (streams_.contains(stream) && !stream->settle()) streams_.erase(stream);
  send_pending();
  close_if_over();
}

void OriginH2::settle_later(OriginStreamH2& stream) {
  unsettled_.push_back(&stream);
  stir();
}

void OriginH2::send_pending() {
  for (;;) {
    if (!gather_frames(session_.get(), out_, kWriteBytes)) broken_ = true;
    if (out_.empty() || !writable_ || broken_) return;
    while (!out_.empty()) {
      const auto moved = io_.write(out_.view());
      if (moved.result == Transport::Result::kAgain) {
        writable_ = false;
        return;
      }
      if (moved.result != Transport::Result::kOk) {
        // What the origin said before it closed is still worth reading (a GOAWAY, for example).
        writable_ = false;
        readable_ = true;
        return stir();
      }
      out_.drop(moved.bytes);
    }
    if (readable_) stir();
  }
}

void OriginH2::close_if_over() {
  const bool over = nghttp2_session_want_read(session_.get()) == 0 &&
                    nghttp2_session_want_write(session_.get()) == 0 && out_.empty();
  if (over && !ready_) bad_reply_ = true;
  if ((over || broken_) && !ready_ && !going_away_)
    socket_.report(bad_reply_ ? "it does not speak HTTP/2"
                              : "it closed the connection before its HTTP/2 SETTINGS came");
  if (broken_ || over) return die(bad_reply_ ? OriginFault::kBadReply : OriginFault::kBroken);
  if (streams_.empty() && (retired_ || !socket_.current())) return die(OriginFault::kBroken);
  if (streams_.empty() && !timer_.armed()) arm();
}

// ---- life

// With streams, their own times count.
void OriginH2::arm() {
  if (streams_.empty())
    loop_.wheel().arm(timer_, loop_.now() + loop_.snapshot().config.timeouts.pool);
  else
    timer_.disarm();
}

void OriginH2::on_timer(Timer&) {
  if (socket_.state() == OriginSocket::State::kHandshake)
    socket_.report_tls_failure("no handshake in time");
  die(open_ ? OriginFault::kBroken : OriginFault::kConnect);
}

void OriginH2::retire() {
  retired_ = true;
  std::erase(socket_.origin().multiplexed, this);
  stir();
}

void OriginH2::die(OriginFault why) {
  if (std::exchange(dead_, true)) return;
  std::erase(socket_.origin().multiplexed, this);
  timer_.disarm();
  if (open_ && !broken_ && streams_.empty() && out_.empty()) {
    nghttp2_session_terminate_session(session_.get(), NGHTTP2_NO_ERROR);
    send_pending();  // whatever becomes of it
  }
  auto streams = std::exchange(streams_, {});
  io_.close();
  for (auto& [stream, owned] : streams) stream->fail(why);
  loop_.link_gone(*this);
}

}  // namespace leeward::edge
