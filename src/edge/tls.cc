#include "edge/internal/tls.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstring>

#include "base/file.h"
#include "edge/ja4.h"

namespace leeward::edge {
namespace {

// TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 §4.2); TLS 1.3 has its own
// list.
constexpr char kCiphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr unsigned char kProtocols[] = "\x02h2\x08http/1.1";
constexpr std::size_t kOcspBytesMax = 64u << 10;

int select_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned offered_size, void*) {
  unsigned char* chosen = nullptr;
  const int result = SSL_select_next_proto(&chosen, out_size, kProtocols, sizeof kProtocols - 1,
                                           offered, offered_size);
  *out = chosen;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// A std::string of the session's.
int fingerprint_index() {
  static const int index = SSL_get_ex_new_index(
      0, nullptr, nullptr, nullptr, [](void*, void* text, CRYPTO_EX_DATA*, int, long, void*) {
        delete static_cast<std::string*>(text);
      });
  return index;
}

// Sees each message of the handshake whole. The first hello counts: after a HelloRetryRequest
// comes another.
void note_hello(int sent, int, int content, const void* bytes, std::size_t size, SSL* ssl, void*) {
  if (sent != 0 || content != SSL3_RT_HANDSHAKE) return;
  const std::string_view message(static_cast<const char*>(bytes), size);
  if (message.empty() || message.front() != SSL3_MT_CLIENT_HELLO) return;
  if (SSL_get_ex_data(ssl, fingerprint_index()) != nullptr) return;
  auto text = std::make_unique<std::string>(ja4_of(message));
  if (SSL_set_ex_data(ssl, fingerprint_index(), text.get()) == 1) text.release();
}

void configure_server(SSL_CTX* context) {
  configure_tls(context);
  // Tickets carry the sessions, so that no loop needs another's memory; each start has its own
  // keys.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(context, select_protocol, nullptr);
}
// The names that the certificate is for, in lower case.
std::vector<std::string> names_of(X509* certificate) {
  std::vector<std::string> names;
  auto* alternatives = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives, i);
    if (name->type != GEN_DNS) continue;
    std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                     static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    for (char& c : text)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    names.push_back(std::move(text));
  }
  GENERAL_NAMES_free(alternatives);
  return names;
}

}  // namespace

void configure_tls(SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context, kCiphers);
  SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384");
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                   SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
}

std::string openssl_reason() {
  char text[256] = "unknown";
  if (const unsigned long code = ERR_peek_last_error(); code != 0)
    ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

std::string_view client_fingerprint(const SSL* ssl) {
  const auto* text = static_cast<const std::string*>(SSL_get_ex_data(ssl, fingerprint_index()));
  return text == nullptr ? std::string_view() : *text;
}

std::string_view negotiated_protocol(const SSL* ssl) {
  const unsigned char* text = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &text, &size);
  return {reinterpret_cast<const char*>(text), size};
}

TlsServer::~TlsServer() {
  for (auto& entry : entries_) SSL_CTX_free(entry->context);
}

Result<TlsServer::Entry> TlsServer::load_one(const Certificate& certificate) {
  Entry entry;
  entry.context = SSL_CTX_new(TLS_server_method());
  configure_server(entry.context);
  auto failed = [&](std::string_view what, const std::string& path) {
    SSL_CTX_free(entry.context);
    return fail(Code::kInvalid, "{} {}: {}", what, path, openssl_reason());
  };
  if (SSL_CTX_use_certificate_chain_file(entry.context, certificate.chain_path.c_str()) != 1)
    return failed("certificate", certificate.chain_path);
  if (SSL_CTX_use_PrivateKey_file(entry.context, certificate.key_path.c_str(), SSL_FILETYPE_PEM) !=
      1)
    return failed("private key", certificate.key_path);
  if (SSL_CTX_check_private_key(entry.context) != 1)
    return failed("private key is not that of the certificate:", certificate.key_path);
  if (certificate.ocsp_path.empty()) return entry;
  auto ocsp = read_file(certificate.ocsp_path, kOcspBytesMax);
  if (!ocsp) {
    SSL_CTX_free(entry.context);
    return fail(std::move(ocsp.error()).wrap("OCSP response"));
  }
  const auto* at = reinterpret_cast<const unsigned char*>(ocsp->data());
  OCSP_RESPONSE* response = d2i_OCSP_RESPONSE(nullptr, &at, static_cast<long>(ocsp->size()));
  if (response == nullptr) return failed("OCSP response (DER)", certificate.ocsp_path);
  OCSP_RESPONSE_free(response);
  entry.ocsp = std::move(*ocsp);
  return entry;
}

Result<std::shared_ptr<const TlsServer>> TlsServer::load(
    const std::vector<Certificate>& certificates) {
  if (certificates.empty())
    return fail(Code::kInvalid, "a listener with tls needs a certificate (edge.certificates)");
  std::shared_ptr<TlsServer> server(new TlsServer);
  for (const Certificate& certificate : certificates) {
    auto loaded = load_one(certificate);
    if (!loaded) return fail(std::move(loaded.error()));
    auto& entry = *server->entries_.emplace_back(std::make_unique<Entry>(std::move(*loaded)));
    for (std::string& name : names_of(SSL_CTX_get0_certificate(entry.context)))
      server->by_name_.emplace(std::move(name), &entry);
  }
  SSL_CTX* first = server->entries_.front()->context;
  SSL_CTX_set_tlsext_servername_callback(first, &TlsServer::select_certificate);
  SSL_CTX_set_tlsext_servername_arg(first, server.get());
  for (auto& entry : server->entries_) {
    SSL_CTX_set_tlsext_status_cb(entry->context, &TlsServer::staple);
    SSL_CTX_set_tlsext_status_arg(entry->context, entry.get());
    // One set of ticket keys, whichever certificate the session was made with: tickets are opened
    // before the name is known.
    unsigned char keys[80];
    const auto size = static_cast<int>(SSL_CTX_get_tlsext_ticket_keys(first, nullptr, 0));
    if (size > 0 && size <= static_cast<int>(sizeof keys) && entry->context != first) {
      SSL_CTX_get_tlsext_ticket_keys(first, keys, size);
      SSL_CTX_set_tlsext_ticket_keys(entry->context, keys, size);
      OPENSSL_cleanse(keys, sizeof keys);
    }
  }
  return std::shared_ptr<const TlsServer>(std::move(server));
}

const TlsServer::Entry& TlsServer::entry_for(std::string_view name) const {
  std::string text(name);
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  if (auto found = by_name_.find(text); found != by_name_.end()) return *found->second;
  if (const std::size_t dot = text.find('.'); dot != std::string::npos)
    if (auto found = by_name_.find("*" + text.substr(dot)); found != by_name_.end())
      return *found->second;
  return *entries_.front();
}

int TlsServer::select_certificate(SSL* ssl, int*, void* self) {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_NOACK;
  const Entry& entry = static_cast<const TlsServer*>(self)->entry_for(name);
  SSL_set_SSL_CTX(ssl, entry.context);
  return SSL_TLSEXT_ERR_OK;
}

int TlsServer::staple(SSL* ssl, void* self) {
  const auto& entry = *static_cast<const Entry*>(self);
  if (entry.ocsp.empty()) return SSL_TLSEXT_ERR_NOACK;
  // OpenSSL frees what it is given.
  auto* copy = static_cast<unsigned char*>(OPENSSL_malloc(entry.ocsp.size()));
  if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
  std::memcpy(copy, entry.ocsp.data(), entry.ocsp.size());
  SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(entry.ocsp.size()));
  return SSL_TLSEXT_ERR_OK;
}

SSL* TlsServer::accept() const {
  SSL* ssl = SSL_new(entries_.front()->context);
  SSL_set_msg_callback(ssl, &note_hello);
  SSL_set_accept_state(ssl);
  return ssl;
}

}  // namespace leeward::edge
