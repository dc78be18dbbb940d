#include "mysql/internal/channel.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace leeward::mysql::internal {
namespace {

std::string tls_reason() {
  unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return reason ? reason : "the connection ended";
}

bool is_address(const std::string& host) {
  in6_addr scratch;
  return ::inet_pton(AF_INET, host.c_str(), &scratch) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &scratch) == 1;
}

// A reason of its own for what an operator can mend in a file.
Status use_files(SSL_CTX* context, const TlsOptions& options) {
  if (!options.authority_file.empty() &&
      SSL_CTX_load_verify_locations(context, options.authority_file.c_str(), nullptr) != 1)
    return fail(Code::kInvalid, "TLS: authority file {} cannot be used: {}", options.authority_file,
                tls_reason());
  if (options.certificate_file.empty()) return {};
  if (SSL_CTX_use_certificate_chain_file(context, options.certificate_file.c_str()) != 1)
    return fail(Code::kInvalid, "TLS: certificate file {} cannot be used: {}",
                options.certificate_file, tls_reason());
  if (SSL_CTX_use_PrivateKey_file(context, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1)
    return fail(Code::kInvalid, "TLS: key file {} cannot be used with certificate {}: {}",
                options.key_file, options.certificate_file, tls_reason());
  return {};
}

}  // namespace

Result<Channel> Channel::connect(const Endpoint& endpoint, BootTime deadline) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::string port = std::to_string(endpoint.port);
  if (int wrong = ::getaddrinfo(endpoint.host.c_str(), port.c_str(), &hints, &found); wrong != 0)
    return fail(Code::kUnavailable, "host {} has no address: {}", endpoint.host,
                ::gai_strerror(wrong));
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, ::freeaddrinfo);
  Error last{Code::kUnavailable, "no address"};
  for (const addrinfo* at = found; at; at = at->ai_next) {
    UniqueFd fd(::socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return fail(os_error(errno, "socket"));
    int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    Channel channel(std::move(fd));
    if (::connect(channel.fd_.get(), at->ai_addr, at->ai_addrlen) != 0 && errno != EINPROGRESS) {
      last = Error{Code::kUnavailable, os_error(errno, "connect").message};
      continue;
    }
    if (auto ready = channel.wait(POLLOUT, deadline); !ready) return fail(std::move(ready.error()));
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(channel.fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0) return channel;
    last = Error{Code::kUnavailable, os_error(error, "connect").message};
  }
  return fail(std::move(last));
}

Status Channel::wait(short events, BootTime deadline) {
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - BootClock::now()).count();
    pollfd entry{fd_.get(), events, 0};
    int ready = ::poll(&entry, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, INT_MAX)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return fail(os_error(errno, "poll"));
    if (ready == 0 && left <= 0) return fail(Code::kTimeout, "no answer in time");
  }
}

Status Channel::wait_tls(int result, std::string_view doing, BootTime deadline) {
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return wait(POLLIN, deadline);
    case SSL_ERROR_WANT_WRITE:
      return wait(POLLOUT, deadline);
    case SSL_ERROR_ZERO_RETURN:
      return fail(Code::kUnavailable, "the server closed the connection");
    case SSL_ERROR_SYSCALL:
      return fail(Code::kUnavailable, "TLS {}: {}", doing,
                  errno != 0 ? os_error(errno, "socket").message : "the connection ended");
    default:
      break;
  }
  // An alert of the server's is its verdict on our certificate, or on what it can speak.
  if (long verdict = SSL_get_verify_result(tls_.get()); verdict != X509_V_OK)
    return fail(Code::kRefused, "TLS: the server's certificate is not accepted: {}",
                X509_verify_cert_error_string(verdict));
  std::string reason = tls_reason();
  bool ended = reason.find("unexpected eof") != std::string::npos;
  return fail(ended ? Code::kUnavailable : Code::kRefused, "TLS {}: {}", doing, reason);
}

Status Channel::start_tls(const TlsOptions& options, const std::string& host, BootTime deadline) {
  ERR_clear_error();
  context_.reset(SSL_CTX_new(TLS_client_method()));
  if (!context_) return fail(Code::kInternal, "TLS: {}", tls_reason());
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
  if (auto used = use_files(context_.get(), options); !used) return used;
  bool verify = options.mode == TlsMode::kVerifyCa || options.mode == TlsMode::kVerifyIdentity;
  if (verify && options.authority_file.empty())
    return fail(Code::kInvalid, "TLS: to verify {} an authority file is needed", host);
  tls_.reset(SSL_new(context_.get()));
  if (!tls_) return fail(Code::kInternal, "TLS: {}", tls_reason());
  SSL_set_verify(tls_.get(), verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  const std::string& name = options.server_name.empty() ? host : options.server_name;
  if (!is_address(name)) SSL_set_tlsext_host_name(tls_.get(), name.c_str());
  if (options.mode == TlsMode::kVerifyIdentity) {
    bool set = is_address(name)
                   ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls_.get()), name.c_str()) == 1
                   : SSL_set1_host(tls_.get(), name.c_str()) == 1;
    if (!set) return fail(Code::kInvalid, "TLS: '{}' is not a name to verify", name);
  }
  SSL_set_fd(tls_.get(), fd_.get());
  for (;;) {
    ERR_clear_error();
    errno = 0;
    int result = SSL_connect(tls_.get());
    if (result == 1) return {};
    if (auto ready = wait_tls(result, "handshake", deadline); !ready) return ready;
  }
}

Result<std::size_t> Channel::read(char* into, std::size_t size, BootTime deadline) {
  for (;;) {
    if (tls_) {
      ERR_clear_error();
      errno = 0;
      int count =
          SSL_read(tls_.get(), into, static_cast<int>(std::min<std::size_t>(size, INT_MAX)));
      if (count > 0) return static_cast<std::size_t>(count);
      if (auto ready = wait_tls(count, "read", deadline); !ready)
        return fail(std::move(ready.error()));
      continue;
    }
    ssize_t count = ::recv(fd_.get(), into, size, 0);
    if (count > 0) return static_cast<std::size_t>(count);
    if (count == 0) return fail(Code::kUnavailable, "the server closed the connection");
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return fail(Code::kUnavailable, "{}", os_error(errno, "receive").message);
    if (auto ready = wait(POLLIN, deadline); !ready) return fail(std::move(ready.error()));
  }
}

Status Channel::write(std::string_view bytes, BootTime deadline) {
  while (!bytes.empty()) {
    if (tls_) {
      ERR_clear_error();
      errno = 0;
      int count = SSL_write(tls_.get(), bytes.data(),
                            static_cast<int>(std::min<std::size_t>(bytes.size(), INT_MAX)));
      if (count > 0)
        bytes.remove_prefix(static_cast<std::size_t>(count));
      else if (auto ready = wait_tls(count, "write", deadline); !ready)
        return ready;
      continue;
    }
    ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      if (auto ready = wait(POLLOUT, deadline); !ready) return ready;
    } else if (errno != EINTR) {
      return fail(Code::kUnavailable, "{}", os_error(errno, "send").message);
    }
  }
  return {};
}

}  // namespace leeward::mysql::internal
