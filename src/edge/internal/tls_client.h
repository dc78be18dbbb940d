// TLS towards the origins of one group: TLS 1.2 and 1.3 by OpenSSL. The origin is always verified,
// by its certificate's name and against the group's authorities or the system's. Immutable once
// loaded; a reload makes a new one.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "edge/edge.h"

using SSL_SESSION = struct ssl_session_st;  // as openssl/ssl.h, which few need, has it

namespace leeward::edge {

// The last session with one origin, resumed by the next handshake. One loop's.
class TlsSession {
 public:
  TlsSession() = default;
  ~TlsSession() { forget(); }
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  void keep(SSL_SESSION* session);  // takes the reference
  void forget() { keep(nullptr); }
  SSL_SESSION* get() const { return session_; }

 private:
  SSL_SESSION* session_ = nullptr;
};

class TlsClient {
 public:
  // kIo or kInvalid name the file and what is wrong with it.
  static Result<std::shared_ptr<const TlsClient>> load(const OriginTls& settings,
                                                       OriginProtocol protocol);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  // Whether both were made of the same files' contents.
  bool same_as(const TlsClient& other) const { return digest_ == other.digest_; }
  // A session for a connection to an origin at `address`; the caller frees it. It resumes
  // `session`, which must outlive it, and leaves new ones there.
  SSL* connect(std::string_view address, TlsSession& session) const;

 private:
  TlsClient() = default;
  SSL_CTX* context_ = nullptr;
  std::string name_;    // empty: the address's host
  std::string digest_;  // of the files
};

// The host of "10.0.0.1:8080" or "[::1]:8080"; "" of a Unix socket.
std::string host_of(std::string_view address);

}  // namespace leeward::edge
