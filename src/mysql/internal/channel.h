// A TCP connection with deadlines, plain or TLS. The socket does not block; a call that would wait
// polls until its deadline. Not thread-safe. TLS is OpenSSL's, version 1.2 or later.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/time.h"
#include "model/platform.h"
#include "mysql/replication_client.h"

namespace leeward::mysql::internal {

class Channel {
 public:
  // kUnavailable, kTimeout. A host name is resolved first, by the system and for as long as it
  // takes.
  static Result<Channel> connect(const Endpoint& endpoint, BootTime deadline);

  // kRefused when the certificate, ours or the server's, is not accepted.
  Status start_tls(const TlsOptions& options, const std::string& host, BootTime deadline);
  bool encrypted() const { return tls_ != nullptr; }

  // At least one byte; kUnavailable at the end of the connection, kTimeout at the deadline.
  Result<std::size_t> read(char* into, std::size_t size, BootTime deadline);
  Status write(std::string_view bytes, BootTime deadline);

 private:
  struct FreeTls {
    void operator()(SSL* tls) const { SSL_free(tls); }
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  explicit Channel(UniqueFd fd) : fd_(std::move(fd)) {}
  Status wait(short events, BootTime deadline);
  // Waits for what TLS needs after a call that returned `result`; an error if that will not help.
  Status wait_tls(int result, std::string_view doing, BootTime deadline);

  UniqueFd fd_;
  std::unique_ptr<SSL_CTX, FreeTls> context_;
  std::unique_ptr<SSL, FreeTls> tls_;
};

}  // namespace leeward::mysql::internal
