#include "edge/internal/tls_client.h"

#include <arpa/inet.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/file.h"
#include "edge/internal/tls.h"

namespace leeward::edge {
namespace {

constexpr unsigned char kHttp1[] = "\x08http/1.1", kHttp2[] = "\x02h2";
constexpr std::size_t kFileBytesMax = 4u << 20;

bool is_ip(const std::string& host) {
  unsigned char address[16];
  return inet_pton(AF_INET, host.c_str(), address) == 1 ||
         inet_pton(AF_INET6, host.c_str(), address) == 1;
}

int session_slot() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

int on_new_session(SSL* ssl, SSL_SESSION* session) {
  static_cast<TlsSession*>(SSL_get_ex_data(ssl, session_slot()))->keep(session);
  return 1;  // the reference is ours
}

Result<std::string> digest_of(const OriginTls& settings) {
  std::string all;
  for (const std::string* path : {&settings.ca, &settings.certificate, &settings.key}) {
    if (path->empty()) continue;
    auto bytes = read_file(*path, kFileBytesMax);
    if (!bytes) return fail(std::move(bytes.error()));
    all.append(fmt::format("{}:", bytes->size())).append(*bytes);
    OPENSSL_cleanse(bytes->data(), bytes->size());
  }
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(all.data()), all.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  OPENSSL_cleanse(all.data(), all.size());
  return digest;
}

}  // namespace

void TlsSession::keep(SSL_SESSION* session) {
  SSL_SESSION_free(session_);
  session_ = session;
}

std::string host_of(std::string_view address) {
  if (address.starts_with("unix:")) return {};
  std::string_view host = address.substr(0, address.rfind(':'));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return std::string(host);
}

TlsClient::~TlsClient() { SSL_CTX_free(context_); }

Result<std::shared_ptr<const TlsClient>> TlsClient::load(const OriginTls& settings,
                                                         OriginProtocol protocol) {
  auto digest = digest_of(settings);
  if (!digest) return fail(std::move(digest.error()));
  std::shared_ptr<TlsClient> client(new TlsClient);
  client->name_ = settings.name;
  client->digest_ = std::move(*digest);
  client->context_ = SSL_CTX_new(TLS_client_method());
  SSL_CTX* context = client->context_;
  configure_tls(context);
  // A response that ends with the connection is whole only if the origin says so (RFC 9112 §9.8).
  SSL_CTX_clear_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
  SSL_CTX_sess_set_new_cb(context, on_new_session);
  const bool http2 = protocol == OriginProtocol::kHttp2;
  SSL_CTX_set_alpn_protos(context, http2 ? kHttp2 : kHttp1,
                          static_cast<unsigned>(http2 ? sizeof kHttp2 : sizeof kHttp1) - 1);
  auto failed = [](std::string_view what, const std::string& path) {
    return fail(Code::kInvalid, "{} {}: {}", what, path, openssl_reason());
  };
  if (settings.ca.empty()) {
    if (SSL_CTX_set_default_verify_paths(context) != 1)
      return failed("certificate authorities of", "the system");
  } else if (SSL_CTX_load_verify_file(context, settings.ca.c_str()) != 1) {
    return failed("certificate authorities", settings.ca);
  }
  if (settings.certificate.empty()) return client;
  if (SSL_CTX_use_certificate_chain_file(context, settings.certificate.c_str()) != 1)
    return failed("certificate", settings.certificate);
  if (SSL_CTX_use_PrivateKey_file(context, settings.key.c_str(), SSL_FILETYPE_PEM) != 1)
    return failed("private key", settings.key);
  if (SSL_CTX_check_private_key(context) != 1)
    return failed("private key is not that of the certificate:", settings.key);
  return client;
}

SSL* TlsClient::connect(std::string_view address, TlsSession& session) const {
  SSL* ssl = SSL_new(context_);
  SSL_set_connect_state(ssl);
  const std::string name = name_.empty() ? host_of(address) : name_;
  X509_VERIFY_PARAM* verify = SSL_get0_param(ssl);
  if (is_ip(name)) {
    X509_VERIFY_PARAM_set1_ip_asc(verify, name.c_str());
  } else {
    // RFC 6066 §3: no addresses in SNI.
    SSL_set_tlsext_host_name(ssl, name.c_str());
    X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    X509_VERIFY_PARAM_set1_host(verify, name.data(), name.size());
  }
  SSL_set_ex_data(ssl, session_slot(), &session);
  if (session.get() != nullptr) SSL_set_session(ssl, session.get());
  return ssl;
}

}  // namespace leeward::edge
