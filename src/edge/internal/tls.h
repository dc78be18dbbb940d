// TLS towards clients: TLS 1.2 and 1.3 by OpenSSL, the certificate by SNI, ALPN, session tickets,
// stapled OCSP responses. Immutable once loaded; a reload makes a new one, connections keep theirs.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "edge/edge.h"

namespace leeward::edge {

class TlsServer {
 public:
  // kIo or kInvalid name the file and what is wrong with it.
  static Result<std::shared_ptr<const TlsServer>> load(
      const std::vector<Certificate>& certificates);
  ~TlsServer();
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  // A session for a connection that was just accepted; the caller frees it, and keeps this here as
  // long: a handshake that comes late, after reloads, asks for the certificate.
  SSL* accept() const;

 private:
  struct Entry {
    SSL_CTX* context = nullptr;
    std::string ocsp;
  };
  TlsServer() = default;
  static Result<Entry> load_one(const Certificate& certificate);
  const Entry& entry_for(std::string_view name) const;
  static int select_certificate(SSL* ssl, int* alert, void* self);
  static int staple(SSL* ssl, void* self);

  std::vector<std::unique_ptr<Entry>> entries_;
  std::unordered_map<std::string, const Entry*> by_name_;  // "shop.test", "*.shop.test"
};

// What clients and origins have in common: versions, ciphers, groups, modes.
void configure_tls(SSL_CTX* context);
// The latest error of OpenSSL's queue, which is emptied.
std::string openssl_reason();

// JA4 of the client's hello (ja4.h), for as long as the session lives; "" before it came.
std::string_view client_fingerprint(const SSL* ssl);
// What both sides agreed on by ALPN; "" before the handshake is over or without ALPN.
std::string_view negotiated_protocol(const SSL* ssl);

}  // namespace leeward::edge
