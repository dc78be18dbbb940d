#include "edge/internal/transport.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace leeward::edge {

SocketAddress address_of(int socket) {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address.storage), &address.size) != 0)
    address.size = 0;
  return address;
}

ClientAddress client_address(const sockaddr_storage& storage) {
  ClientAddress client;
  client.bytes[10] = client.bytes[11] = 0xff;
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    std::memcpy(client.bytes + 12, &v4.sin_addr, 4);
    client.port = ntohs(v4.sin_port);
  } else if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    std::memcpy(client.bytes, &v6.sin6_addr, 16);
    client.port = ntohs(v6.sin6_port);
  }
  return client;
}

Result<UniqueFd> listen_on(const SocketAddress& address, std::string_view text) {
  UniqueFd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int one = 1;
  if (!fd.valid() || setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
      setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0 ||
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0 ||
      listen(fd.get(), 4096) != 0)
    return fail(os_error(errno, fmt::format("listen on {}", text)));
  return fd;
}

void Transport::secure(SSL* ssl, std::shared_ptr<const void> keep) {
  ssl_ = ssl;
  keep_ = std::move(keep);
  SSL_set_fd(ssl_, fd_.get());
}

void Transport::close() {
  if (ssl_ != nullptr) {
    // Without the close_notify a session is not resumed by some clients.
    if (SSL_is_init_finished(ssl_) == 1) SSL_shutdown(ssl_);
    ERR_clear_error();
    SSL_free(std::exchange(ssl_, nullptr));
    keep_.reset();
  }
  fd_.reset();
}

void Transport::cut_off() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  if (ssl_ != nullptr) SSL_free(std::exchange(ssl_, nullptr));
  keep_.reset();
  fd_.reset();
}

void Transport::shut_down_writing() {
  if (ssl_ != nullptr && SSL_is_init_finished(ssl_) == 1) SSL_shutdown(ssl_);
  ERR_clear_error();
  ::shutdown(fd_.get(), SHUT_WR);
}

Transport::Moved Transport::handshake() { return ssl_outcome(SSL_do_handshake(ssl_)); }

std::string Transport::tls_failure() const {
  if (const long verified = SSL_get_verify_result(ssl_); verified != X509_V_OK)
    return fmt::format("its certificate: {}", X509_verify_cert_error_string(verified));
  const char* reason = ssl_error_ != 0 ? ERR_reason_error_string(ssl_error_) : nullptr;
  return reason != nullptr ? reason : "the connection was closed";
}

Transport::Moved Transport::ssl_outcome(int result) {
  if (result > 0) return {Result::kOk, static_cast<std::size_t>(result)};
  const int error = SSL_get_error(ssl_, result);
  if (error == SSL_ERROR_SSL) ssl_error_ = ERR_peek_last_error();
  ERR_clear_error();
  switch (error) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return {Result::kAgain, 0};
    case SSL_ERROR_ZERO_RETURN:
      return {Result::kEof, 0};
    default:
      return {Result::kError, 0};
  }
}

bool Transport::note(std::uint32_t events) {
  constexpr std::uint32_t kEnd = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
  if ((events & kEnd) != 0) ended_ = true;
  return (events & (EPOLLIN | kEnd)) != 0;
}

Transport::Moved Transport::read(std::span<char> into) {
  if (ssl_ != nullptr)
    return ssl_outcome(SSL_read(ssl_, into.data(), static_cast<int>(into.size())));
  const ssize_t n = recv(fd_.get(), into.data(), into.size(), 0);
  if (n > 0) return {Result::kOk, static_cast<std::size_t>(n)};
  if (n == 0) return {Result::kEof, 0};
  return {errno == EAGAIN || errno == EINTR ? Result::kAgain : Result::kError, 0};
}

Transport::Moved Transport::write(std::string_view bytes) {
  if (ssl_ != nullptr)
    return ssl_outcome(SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())));
  const ssize_t n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (n >= 0) return {Result::kOk, static_cast<std::size_t>(n)};
  return {errno == EAGAIN || errno == EINTR ? Result::kAgain : Result::kError, 0};
}

Transport::Moved Transport::write(std::string_view first, std::string_view second) {
  if (second.empty() || ssl_ != nullptr) return write(first.empty() ? second : first);
  iovec parts[2] = {{const_cast<char*>(first.data()), first.size()},
                    {const_cast<char*>(second.data()), second.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  const ssize_t n = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
  if (n >= 0) return {Result::kOk, static_cast<std::size_t>(n)};
  return {errno == EAGAIN || errno == EINTR ? Result::kAgain : Result::kError, 0};
}

Transport::Moved Transport::write_file(int file, std::uint64_t offset, std::size_t size) {
  if (ssl_ != nullptr) {
    std::array<char, 16384> block;
    const ssize_t n =
        pread(file, block.data(), std::min(size, block.size()), static_cast<off_t>(offset));
    if (n <= 0) return {Result::kError, 0};
    return write({block.data(), static_cast<std::size_t>(n)});
  }
  off_t at = static_cast<off_t>(offset);
  const ssize_t n = sendfile(fd_.get(), file, &at, size);
  if (n > 0) return {Result::kOk, static_cast<std::size_t>(n)};
  if (n == 0) return {Result::kError, 0};  // the file is shorter than its index says
  return {errno == EAGAIN || errno == EINTR ? Result::kAgain : Result::kError, 0};
}

}  // namespace leeward::edge
