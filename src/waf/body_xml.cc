#include "waf/body_xml.h"

#include <libxml/parser.h>
#include <libxml/xmlerror.h>

#include <algorithm>
#include <mutex>

namespace leeward::waf {
namespace {

std::string_view text_of(const xmlChar* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace

struct XmlBody::Parser {
  xmlParserCtxtPtr context = nullptr;
  ~Parser() {
    if (!context) return;
    xmlFreeDoc(context->myDoc);  // none is built; a DTD's name would be in one
    xmlFreeParserCtxt(context);
  }
};

// What libxml2 calls while it reads. Every other event is of no interest and has no handler.
struct XmlBody::Events {
  static XmlBody& body(void* context) { return *static_cast<XmlBody*>(context); }

  static void stop(XmlBody& body, std::string message) {
    if (!body.error_) body.error_ = BodyError{std::move(message), body.offset()};
    xmlStopParser(body.parser_->context);
  }

  static bool keep(XmlBody& self, std::size_t bytes) {
    self.kept_bytes_ += bytes;
    if (self.kept_bytes_ <= self.limits_.text_bytes_max) return true;
    stop(self, "text of more than " + std::to_string(self.limits_.text_bytes_max) + " bytes");
    return false;
  }

  static void start(void* context, const xmlChar*, const xmlChar*, const xmlChar*, int,
                    const xmlChar**, int attributes, int defaulted, const xmlChar** values) {
    XmlBody& self = body(context);
    if (self.error_) return;
    if (++self.depth_ > self.limits_.depth_max)
      return stop(self, "nested deeper than " + std::to_string(self.limits_.depth_max));
    // Five pointers an attribute: name, prefix, name space, value, its end. Those that only a DTD
    // gives come last and are no part of the body.
    for (int i = 0; i < attributes - defaulted; ++i) {
      const xmlChar* value = values[i * 5 + 3];
      const auto size = static_cast<std::size_t>(values[i * 5 + 4] - value);
      if (self.attributes_.size() >= self.limits_.fields_max)
        return stop(self, "more than " + std::to_string(self.limits_.fields_max) + " attributes");
      if (!keep(self, size)) return;
      self.attributes_.emplace_back(text_of(value, size));
    }
  }

  static void end(void* context, const xmlChar*, const xmlChar*, const xmlChar*) {
    --body(context).depth_;
  }

  static void characters(void* context, const xmlChar* bytes, int size) {
    XmlBody& self = body(context);
    if (self.error_ || self.depth_ == 0) return;
    if (keep(self, static_cast<std::size_t>(size)))
      self.text_ += text_of(bytes, static_cast<std::size_t>(size));
  }

  static void entity(void* context, const xmlChar*, int, const xmlChar*, const xmlChar*, xmlChar*) {
    stop(body(context), "the document declares an entity");
  }

  static void unparsed_entity(void* context, const xmlChar*, const xmlChar*, const xmlChar*,
                              const xmlChar*) {
    stop(body(context), "the document declares an entity");
  }

  static void reference(void* context, const xmlChar* name) {
    stop(body(context),
         "the document refers to an entity: " + std::string(reinterpret_cast<const char*>(name)));
  }

  // Without handlers libxml2 would write to standard error: of a document to one of its own, of
  // what iconv makes of its octets to the thread's.
  static void ignore_error(void*, xmlErrorPtr) {}
  static void ignore_text(void*, const char*, ...) {}
  static void parse(XmlBody& body, const char* bytes, std::size_t size, bool last) {
    xmlSetGenericErrorFunc(nullptr, ignore_text);
    xmlParseChunk(body.parser_->context, bytes, static_cast<int>(size), last ? 1 : 0);
  }
};

XmlBody::XmlBody(const BodyLimits& limits) : parser_(std::make_unique<Parser>()), limits_(limits) {
  static std::once_flag initialised;  // libxml2 wants this before its first parser, and once
  std::call_once(initialised, xmlInitParser);
  xmlSAXHandler handler{};
  handler.initialized = XML_SAX2_MAGIC;
  handler.startElementNs = Events::start;
  handler.endElementNs = Events::end;
  handler.characters = Events::characters;
  handler.ignorableWhitespace = Events::characters;
  handler.cdataBlock = Events::characters;
  handler.entityDecl = Events::entity;
  handler.unparsedEntityDecl = Events::unparsed_entity;
  handler.reference = Events::reference;
  handler.serror = Events::ignore_error;
  parser_->context = xmlCreatePushParserCtxt(&handler, this, nullptr, 0, nullptr);
  if (!parser_->context) {
    error_ = BodyError{"no memory for the parser", 0};
    return;
  }
  xmlCtxtUseOptions(parser_->context, XML_PARSE_NONET);
}

XmlBody::~XmlBody() = default;

std::size_t XmlBody::offset() const {
  const long consumed = xmlByteConsumed(parser_->context);
  return consumed > 0 ? static_cast<std::size_t>(consumed) : 0;
}

// Takes over what libxml2 found wrong, with the line and column as a person counts them.
bool XmlBody::check() {
  if (error_) return false;
  const xmlParserCtxt& context = *parser_->context;
  if (context.wellFormed == 1 && context.disableSAX == 0) return true;
  std::string message = "XML: Failed parsing document.";
  // What cannot be converted ends the parser without a word; the rest would go unseen.
  if (context.wellFormed == 1) message += " It is not in the encoding that it declares.";
  if (const xmlErrorPtr found = xmlCtxtGetLastError(parser_->context); found && found->message) {
    std::string_view why = found->message;
    while (why.ends_with('\n')) why.remove_suffix(1);
    message += " " + std::to_string(found->line) + ":" + std::to_string(found->int2) + ": ";
    message += why;
  }
  error_ = BodyError{std::move(message), offset()};
  return false;
}

bool XmlBody::feed(std::string_view bytes) {
  constexpr std::size_t kPieceBytes = 1u << 20;  // libxml2 counts in int
  while (!bytes.empty() && !error_) {
    const std::size_t size = std::min(bytes.size(), kPieceBytes);
    Events::parse(*this, bytes.data(), size, false);
    bytes.remove_prefix(size);
    if (!check()) return false;
  }
  return !error_;
}

bool XmlBody::finish() {
  if (error_) return false;
  Events::parse(*this, nullptr, 0, true);
  return check();
}

}  // namespace leeward::waf
