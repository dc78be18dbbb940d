// A non-blocking stream socket, plain or under TLS.
#pragma once

#include <openssl/types.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/socket_address.h"
#include "edge/exchange.h"

namespace leeward::edge {

SocketAddress address_of(int socket);  // size 0: it has none
ClientAddress client_address(const sockaddr_storage& storage);

// Listens with SO_REUSEPORT, so that each loop has its own queue. kIo names the address.
Result<UniqueFd> listen_on(const SocketAddress& address, std::string_view text);

class Transport {
 public:
  enum class Result : std::uint8_t {
    kOk,     // `bytes` were moved
    kAgain,  // the socket would block
    kEof,    // read: the other side ended its stream properly
    kError,  // of no more use
  };
  struct Moved {
    Result result = Result::kError;
    std::size_t bytes = 0;
  };

  Transport() = default;
  ~Transport() { close(); }
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  Transport& operator=(Transport&& other) noexcept {
    close();
    fd_ = std::move(other.fd_);
    ssl_ = std::exchange(other.ssl_, nullptr);
    keep_ = std::move(other.keep_);
    ended_ = other.ended_;
    return *this;
  }

  void open(UniqueFd fd) {
    fd_ = std::move(fd);
    ended_ = false;
  }
  // Takes the session; a handshake runs within read() and write(), or by itself in handshake().
  // `keep`: what the session's callbacks point to.
  void secure(SSL* ssl, std::shared_ptr<const void> keep = nullptr);
  Moved handshake();
  // Why TLS failed: what is wrong with the other side's certificate, or the last error.
  std::string tls_failure() const;
  void close();
  // As close(), but the other side sees that it was cut off: a TCP reset, no close_notify.
  void cut_off();
  void shut_down_writing();

  int fd() const { return fd_.get(); }
  bool is_open() const { return fd_.valid(); }
  SSL* ssl() const { return ssl_; }

  // What epoll says of the socket. True: there is something to read, if only its end.
  bool note(std::uint32_t events);
  // Whether a read that gave `got` of `asked` octets left nothing behind, so that the next octet is
  // a new event. Not so once the other side has ended: that was told already, and is read last.
  bool emptied_by(std::size_t got, std::size_t asked) const {
    return ssl_ == nullptr && !ended_ && got < asked;
  }
  Moved read(std::span<char> into);
  Moved write(std::string_view bytes);
  // Both as one system call on a plain socket.
  Moved write(std::string_view first, std::string_view second);
  // From a file, without copying on a plain socket; at most `size`.
  Moved write_file(int file, std::uint64_t offset, std::size_t size);

 private:
  Moved ssl_outcome(int result);

  UniqueFd fd_;
  SSL* ssl_ = nullptr;
  std::shared_ptr<const void> keep_;  // as long as ssl_
  bool ended_ = false;                // by the other side
  unsigned long ssl_error_ = 0;       // OpenSSL's code of the error that ended it
};

}  // namespace leeward::edge
