// XML bodies: what the rules ask for is the text of the document (XML:/*) and the values of its
// attributes (XML://@*). libxml2 reads it as events, so no tree is built and nothing is loaded: a
// document that declares an entity, or refers to one that is not predefined, is an error, an
// external subset is not fetched, and no bound of libxml2 is lifted.
//
// Threading: one parser for one body on one thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "waf/body.h"

namespace leeward::waf {

class XmlBody {
 public:
  explicit XmlBody(const BodyLimits& limits);
  ~XmlBody();
  XmlBody(const XmlBody&) = delete;
  XmlBody& operator=(const XmlBody&) = delete;

  bool feed(std::string_view bytes);  // false once there is an error; what follows is then ignored
  bool finish();                      // the body is complete; false when it is not well-formed
  const std::optional<BodyError>& error() const { return error_; }

  // All text of the root element, its descendants' included, in document order, as UTF-8: the value
  // of XML:/*. Comments and processing instructions are no part of it. After an error: what was
  // read before it.
  const std::string& text() const { return text_; }
  // The values of XML://@*, in document order.
  const std::vector<std::string>& attributes() const { return attributes_; }

 private:
  struct Events;
  struct Parser;

  bool check();
  std::size_t offset() const;

  std::unique_ptr<Parser> parser_;
  const BodyLimits limits_;
  std::string text_;
  std::vector<std::string> attributes_;
  std::size_t depth_ = 0;
  std::size_t kept_bytes_ = 0;
  std::optional<BodyError> error_;
};

}  // namespace leeward::waf
