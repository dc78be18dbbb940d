#include "edge/internal/client_h2.h"

#include <sys/epoll.h>

#include <algorithm>

#include "base/check.h"
#include "edge/internal/h2_fields.h"
#include "edge/internal/stream_h2.h"
#include "edge/internal/tls.h"

namespace leeward::edge {
namespace {

constexpr std::size_t kWriteBytes = 64u << 10;   // gathered for one write
constexpr Duration kLinger = 1s;                 // for a client to read our last words
constexpr std::size_t kDiscardMax = 256u << 10;  // of what it still says meanwhile
constexpr std::size_t kReadPerTurn = 64u << 10;
constexpr std::size_t kStartsPerTurn = 32;
constexpr std::size_t kPieceBytes = 2u << 10;
// Browsers send one or two with each request (PRIORITY_UPDATE of RFC 9218, and grease); a request
// that was answered earns them.
constexpr double kUnknownFrameCost = 1, kAnswerWorth = 2;
// Nobody needs many of these, and each costs an answer.
constexpr double kPingCost = 4, kSettingsCost = 8;

}  // namespace

// All run inside of nghttp2_session_mem_recv() or _mem_send().
struct ClientH2::Callbacks {
  static ClientH2& self(void* user) { return *static_cast<ClientH2*>(user); }

  static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* frame, void* user) {
    ClientH2& c = self(user);
    if (const std::uint32_t error = c.closed_error(*frame); error != NGHTTP2_NO_ERROR) c.end(error);
    if (frame->type > NGHTTP2_CONTINUATION) c.spend_on_idle_frame(kUnknownFrameCost);
    return 0;
  }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    ClientH2& c = self(user);
    c.in_head_ = true;
    c.head_since_ = c.loop_.now();
    c.head_octets_ = 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
      c.streams_.emplace(frame->hd.stream_id, std::make_unique<StreamH2>(c, frame->hd.stream_id));
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* user) {
    ClientH2& c = self(user);
    StreamH2* stream = c.find(frame->hd.stream_id);
    if (stream != nullptr &&
        !stream->add_field({reinterpret_cast<const char*>(name), name_size},
                           {reinterpret_cast<const char*>(value), value_size})) {
      c.end(NGHTTP2_ENHANCE_YOUR_CALM);
      return NGHTTP2_ERR_CALLBACK_FAILURE;  // or it goes on to the block's end
    }
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    ClientH2& c = self(user);
    StreamH2* stream = c.find(frame->hd.stream_id);
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        c.in_head_ = false;
        if (stream == nullptr) return 0;
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
          stream->on_head_end(end);
        else
          stream->on_body_end();  // those were trailers
        return 0;
      case NGHTTP2_DATA:
        if (frame->hd.length == 0 && !end) c.spend_on_idle_frame();
        if (stream != nullptr && end) stream->on_body_end();
        return 0;
      case NGHTTP2_SETTINGS:
        c.ready_ = true;
        c.spend_on_idle_frame(kSettingsCost);
        return 0;
      case NGHTTP2_PING:
        c.spend_on_idle_frame(kPingCost);
        return 0;
      case NGHTTP2_RST_STREAM:
      case NGHTTP2_PRIORITY:
        c.spend_on_idle_frame();
        return 0;
      default:
        return 0;
    }
  }

  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id,
                     const std::uint8_t* bytes, std::size_t size, void* user) {
    nghttp2_session_consume_connection(session, size);
    if (StreamH2* stream = self(user).find(id))
      stream->on_body({reinterpret_cast<const char*>(bytes), size});
    return 0;
  }

  static int on_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_RST_STREAM) return 0;
    ClientH2& c = self(user);
    c.remember_reset(frame->hd.stream_id);
    // The client's fault is work for nothing, like its own resets; ours is not.
    const std::uint32_t error = frame->rst_stream.error_code;
    if (error != NGHTTP2_NO_ERROR && error != NGHTTP2_INTERNAL_ERROR) c.spend_on_idle_frame();
    // SETTINGS that make a window too large are the connection's fault (RFC 9113 §6.9.2), for which
    // nghttp2 blames the streams.
    const StreamH2* stream = c.find(frame->hd.stream_id);
    if (error == NGHTTP2_FLOW_CONTROL_ERROR && stream != nullptr && !stream->at_fault())
      c.end(error);
    return 0;
  }

  static int on_invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int, void* user) {
    if (StreamH2* stream = self(user).find(frame->hd.stream_id)) stream->blame();
    return 0;
  }

  static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t error, void* user) {
    ClientH2& c = self(user);
    if (error == NGHTTP2_NO_ERROR)
      c.idle_frames_left_ = std::min(kIdleFramesMax, c.idle_frames_left_ + kAnswerWorth);
    c.streams_.erase(id);
    c.stir();
    return 0;
  }

  // A frame of an unknown type is ignored (RFC 9113 §5.5).
  static int ignore_unknown(nghttp2_session*, void**, const nghttp2_frame_hd*, void*) {
    return NGHTTP2_ERR_CANCEL;
  }

  // One for all connections, as the table below. nghttp2 tells of a frame of an unknown type only
  // when the type is named.
  static const nghttp2_option* options() {
    static const auto options = [] {
      nghttp2_option* made = nullptr;
      LEEWARD_CHECK(nghttp2_option_new(&made) == 0);
      nghttp2_option_set_no_auto_window_update(made, 1);
      for (int type = NGHTTP2_CONTINUATION + 1; type <= 0xff; ++type)
        nghttp2_option_set_user_recv_extension_type(made, static_cast<std::uint8_t>(type));
      return std::unique_ptr<nghttp2_option, decltype(&nghttp2_option_del)>(made,
                                                                            nghttp2_option_del);
    }();
    return options.get();
  }

  // One table for all connections of the process; immutable once made.
  static const nghttp2_session_callbacks* table() {
    static const auto callbacks = [] {
      nghttp2_session_callbacks* made = nullptr;
      LEEWARD_CHECK(nghttp2_session_callbacks_new(&made) == 0);
      nghttp2_session_callbacks_set_on_begin_frame_callback(made, on_begin_frame);
      nghttp2_session_callbacks_set_on_begin_headers_callback(made, on_begin_headers);
      nghttp2_session_callbacks_set_on_header_callback(made, on_header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, on_frame);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, on_data);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, on_sent);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, on_close);
      nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made, on_invalid_frame);
      nghttp2_session_callbacks_set_unpack_extension_callback(made, ignore_unknown);
      return std::unique_ptr<nghttp2_session_callbacks, decltype(&nghttp2_session_callbacks_del)>(
          made, nghttp2_session_callbacks_del);
    }();
    return callbacks.get();
  }
};

ClientH2::ClientH2(Loop& loop) : loop_(loop), timer_(*this) {}
ClientH2::~ClientH2() = default;

std::string_view ClientH2::ja4() const {
  return secure() ? client_fingerprint(io_.ssl()) : std::string_view();
}

void ClientH2::open(Transport&& io, const ListenerSpec& listener, const ClientAddress& address,
                    std::string_view first_bytes) {
  io_ = std::move(io);
  listener_ = &listener;
  address_ = address;
  idle_frames_at_ = progress_ = head_since_ = loop_.now();
  nghttp2_session* session = nullptr;
  LEEWARD_CHECK(
      nghttp2_session_server_new2(&session, Callbacks::table(), this, Callbacks::options()) == 0);
  session_.reset(session);
  const auto& limits = loop_.snapshot().config.limits;
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kStreamsMax},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(kWindow)},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(limits.head_bytes_max)}};
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  readable_ = writable_ = true;
  loop_.watch_again(io_.fd(), *this);
  if (first_bytes.size() <= kPieceBytes) begin_turn();
  receive(first_bytes.substr(0, kPieceBytes));
  early_ = first_bytes.substr(std::min(kPieceBytes, first_bytes.size()));
  stir();
}

StreamH2* ClientH2::find(std::int32_t id) {
  auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

// ---- reading

void ClientH2::on_events(std::uint32_t events) {
  if (dead_) return;
  if (io_.note(events)) readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
  if (io_.ssl() != nullptr) readable_ = writable_ = true;
  begin_turn();
  read_more();
  on_deferred();
}

void ClientH2::begin_turn() {
  read_left_ = kReadPerTurn;
  starts_left_ = kStartsPerTurn;
}

void ClientH2::on_turn() {
  turn_taken_ = false;
  if (dead_) return;
  begin_turn();
  read_more();
  on_deferred();
}

void ClientH2::read_more() {
  if (!early_.empty()) receive(std::exchange(early_, {}));
  // Answers wait to be written: what else the client wants can wait in its socket.
  while (readable_ && !eof_ && !broken_ && read_left_ > 0 && out_.size() < kWriteBytes) {
    const auto moved = io_.read({loop_.scratch(), Loop::kScratchBytes});
    if (moved.result == Transport::Result::kAgain) {
      readable_ = false;
      break;
    }
    if (moved.result != Transport::Result::kOk) {
      eof_ = true;
      break;
    }
    if (!closing_ && !told_) receive({loop_.scratch(), moved.bytes});
    if (io_.emptied_by(moved.bytes, Loop::kScratchBytes)) readable_ = false;
    if ((closing_ || told_) && (discarded_ += moved.bytes) > kDiscardMax) broken_ = true;
    read_left_ -= std::min(read_left_, moved.bytes);
  }
}

// In pieces, so that of a flood no more is looked at than it takes to call it one.
void ClientH2::receive(std::string_view bytes) {
  while (!bytes.empty() && !told_ && !broken_) {
    const std::string_view piece = bytes.substr(0, kPieceBytes);
    bytes.remove_prefix(piece.size());
    const bool was_in_head = in_head_;
    const ssize_t used = nghttp2_session_mem_recv(
        session_.get(), reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size());
    if (used < 0) {
      // Not even HTTP/2, or a fault that nghttp2 has answered with GOAWAY already.
      loop_.stats().bad_requests.add();
      if (used == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
        broken_ = true;
      else
        end(NGHTTP2_PROTOCOL_ERROR);
      return;
    }
    // Counted as sent: empty CONTINUATION frames make a head no longer as fields go.
    if (was_in_head && in_head_) head_octets_ += piece.size();
    if (head_octets_ > 2 * loop_.snapshot().config.limits.head_bytes_max)
      end(NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

void ClientH2::remember_reset(std::int32_t stream) {
  if (reset_by_us_.size() == kResetsKept) reset_by_us_.pop_front();
  reset_by_us_.push_back(stream);
}

// What a frame is on a stream that has ended, or that a later one has passed over, unless it was us
// who reset it (RFC 9113 §5.1, §5.1.1).
std::uint32_t ClientH2::closed_error(const nghttp2_frame_hd& frame) {
  if (frame.type != NGHTTP2_DATA && frame.type != NGHTTP2_HEADERS) return NGHTTP2_NO_ERROR;
  const std::int32_t id = frame.stream_id;
  if (id == 0) return NGHTTP2_NO_ERROR;  // nghttp2 knows what that is
  if (id > highest_) {
    if (frame.type == NGHTTP2_DATA) return NGHTTP2_NO_ERROR;
    if (const std::int32_t next = highest_ == 0 ? 1 : highest_ + 2; id > next) {
      if (passed_over_.size() == kPassedOverKept) passed_over_.pop_front();
      passed_over_.emplace_back(next, id);
    }
    highest_ = id;
    // These nghttp2 will refuse or ignore.
    if (streams_.size() >= kStreamsMax || draining_) remember_reset(id);
    return NGHTTP2_NO_ERROR;
  }
  if (find(id) != nullptr ||
      std::find(reset_by_us_.begin(), reset_by_us_.end(), id) != reset_by_us_.end())
    return NGHTTP2_NO_ERROR;
  const bool unused = std::any_of(passed_over_.begin(), passed_over_.end(), [id](const auto& gap) {
    return gap.first <= id && id < gap.second;
  });
  return unused ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_STREAM_CLOSED;
}

void ClientH2::spend_on_idle_frame(double cost) {
  const double passed = seconds(loop_.now() - idle_frames_at_);
  idle_frames_at_ = loop_.now();
  idle_frames_left_ =
      std::min(kIdleFramesMax, idle_frames_left_ + passed * kIdleFramesPerSecond) - cost;
  if (idle_frames_left_ < 0) end(NGHTTP2_ENHANCE_YOUR_CALM);
}

// ---- writing

// Requests begin here and not while their frames are read: those that were taken back at once cost
// no more than their frames.
void ClientH2::settle_streams() {
  bool more = false;
  for (auto& [id, stream] : streams_) {
    if (stream->waits() && starts_left_ > 0) {
      --starts_left_;
      stream->begin();
    }
    more = more || stream->waits();
    stream->settle();
  }
  if ((more || (readable_ && read_left_ == 0)) && !std::exchange(turn_taken_, true))
    loop_.take_turns(*this);
}

void ClientH2::on_deferred() {
  if (dead_) return;
  settle_streams();
  send_pending();
  if (broken_ || eof_) return die();
  const bool over = nghttp2_session_want_read(session_.get()) == 0 &&
                    nghttp2_session_want_write(session_.get()) == 0;
  if (over && out_.empty()) close_softly();
  if (readable_ && !closing_ && read_left_ > 0 && out_.empty()) {
    read_more();
    stir();
  }
  arm();
}

void ClientH2::send_pending() {
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
        broken_ = true;
        return;
      }
      out_.drop(moved.bytes);
      progress_ = loop_.now();
    }
  }
}

// ---- life

void ClientH2::begin_drain() {
  if (std::exchange(draining_, true)) return;
  // First that there will be no more, then, when everything sent meanwhile is here, after which.
  nghttp2_submit_shutdown_notice(session_.get());
  loop_.wheel().arm(timer_, loop_.now() + kLastRequest);
  stir();
}

void ClientH2::end(std::uint32_t error) {
  nghttp2_session_terminate_session(session_.get(), error);
  stir();
  if (!std::exchange(told_, true))
    loop_.wheel().arm(timer_, loop_.now() + loop_.snapshot().config.timeouts.write);
}

void ClientH2::close_softly() {
  if (std::exchange(closing_, true)) return;
  streams_.clear();
  io_.shut_down_writing();
  loop_.wheel().arm(timer_, loop_.now() + kLinger);
}

void ClientH2::arm() {
  if (dead_ || closing_ || draining_ || told_) return;
  const EdgeTimeouts& t = loop_.snapshot().config.timeouts;
  // A head's time does not begin anew with each octet of it.
  if (!ready_ || in_head_) return loop_.wheel().arm(timer_, head_since_ + t.header);
  loop_.wheel().arm(timer_, loop_.now() + (streams_.empty() ? t.idle : t.write));
}

void ClientH2::on_timer(Timer&) {
  if (closing_ || told_) return die();
  const EdgeTimeouts& t = loop_.snapshot().config.timeouts;
  if (draining_) {
    if (streams_.empty()) return end(NGHTTP2_NO_ERROR);
    nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(session_.get()), NGHTTP2_NO_ERROR,
                          nullptr, 0);
    loop_.wheel().arm(timer_, loop_.now() + kLastRequest);
    return stir();
  }
  if (streams_.empty() || !ready_ || in_head_) return end(NGHTTP2_NO_ERROR);
  const bool waits = !out_.empty() || std::any_of(streams_.begin(), streams_.end(),
                                                  [](auto& s) { return s.second->has_queued(); });
  if (!waits) progress_ = loop_.now();
  if (loop_.now() - progress_ >= t.write) return die();
  arm();
}

void ClientH2::die() {
  if (std::exchange(dead_, true)) return;
  timer_.disarm();
  streams_.clear();
  io_.close();
  loop_.client_gone(*this);
}

}  // namespace leeward::edge
