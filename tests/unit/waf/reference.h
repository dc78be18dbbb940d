// libmodsecurity as the reference that this room is compared with. Debian's library exports its
// inner classes, so each is asked by itself, without a rule set around it. The declarations here
// are those of libmodsecurity 3.0.9, as far as its package's headers leave them out.
#pragma once

#include <modsecurity/actions/action.h>

#include <memory>
#include <string>

#include "waf/transform.h"

namespace modsecurity::actions::transformations {

class Transformation : public Action {
 public:
  explicit Transformation(const std::string& name) : Action(name, 1) {}
  std::string evaluate(const std::string& value, Transaction* transaction) override;
};

#define LEEWARD_REFERENCE(Name)                                                        \
  class Name : public Transformation {                                                 \
   public:                                                                             \
    using Transformation::Transformation;                                              \
    std::string evaluate(const std::string& value, Transaction* transaction) override; \
  };
LEEWARD_REFERENCE(None)
LEEWARD_REFERENCE(Base64Decode)
LEEWARD_REFERENCE(Base64DecodeExt)
LEEWARD_REFERENCE(Base64Encode)
LEEWARD_REFERENCE(CmdLine)
LEEWARD_REFERENCE(CompressWhitespace)
LEEWARD_REFERENCE(CssDecode)
LEEWARD_REFERENCE(EscapeSeqDecode)
LEEWARD_REFERENCE(HexDecode)
LEEWARD_REFERENCE(HexEncode)
LEEWARD_REFERENCE(HtmlEntityDecode)
LEEWARD_REFERENCE(JsDecode)
LEEWARD_REFERENCE(Length)
LEEWARD_REFERENCE(LowerCase)
LEEWARD_REFERENCE(Md5)
LEEWARD_REFERENCE(NormalisePath)
LEEWARD_REFERENCE(NormalisePathWin)
LEEWARD_REFERENCE(ParityEven7bit)
LEEWARD_REFERENCE(ParityOdd7bit)
LEEWARD_REFERENCE(ParityZero7bit)
LEEWARD_REFERENCE(RemoveComments)
LEEWARD_REFERENCE(RemoveCommentsChar)
LEEWARD_REFERENCE(RemoveNulls)
LEEWARD_REFERENCE(RemoveWhitespace)
LEEWARD_REFERENCE(ReplaceComments)
LEEWARD_REFERENCE(ReplaceNulls)
LEEWARD_REFERENCE(Sha1)
LEEWARD_REFERENCE(SqlHexDecode)
LEEWARD_REFERENCE(Trim)
LEEWARD_REFERENCE(TrimLeft)
LEEWARD_REFERENCE(TrimRight)
LEEWARD_REFERENCE(UpperCase)
LEEWARD_REFERENCE(UrlDecode)
LEEWARD_REFERENCE(UrlDecodeUni)
LEEWARD_REFERENCE(UrlEncode)
LEEWARD_REFERENCE(Utf8ToUnicode)
#undef LEEWARD_REFERENCE

}  // namespace modsecurity::actions::transformations

namespace leeward::waf::reference {

inline std::unique_ptr<modsecurity::actions::Action> transformation(Transform transform) {
  namespace theirs = modsecurity::actions::transformations;
  switch (transform) {
    case Transform::kNone:
      return std::make_unique<theirs::None>("t:none");
    case Transform::kBase64Decode:
      return std::make_unique<theirs::Base64Decode>("t:x");
    case Transform::kBase64DecodeExt:
      return std::make_unique<theirs::Base64DecodeExt>("t:x");
    case Transform::kBase64Encode:
      return std::make_unique<theirs::Base64Encode>("t:x");
    case Transform::kCmdLine:
      return std::make_unique<theirs::CmdLine>("t:x");
    case Transform::kCompressWhitespace:
      return std::make_unique<theirs::CompressWhitespace>("t:x");
    case Transform::kCssDecode:
      return std::make_unique<theirs::CssDecode>("t:x");
    case Transform::kEscapeSeqDecode:
      return std::make_unique<theirs::EscapeSeqDecode>("t:x");
    case Transform::kHexDecode:
      return std::make_unique<theirs::HexDecode>("t:x");
    case Transform::kHexEncode:
      return std::make_unique<theirs::HexEncode>("t:x");
    case Transform::kHtmlEntityDecode:
      return std::make_unique<theirs::HtmlEntityDecode>("t:x");
    case Transform::kJsDecode:
      return std::make_unique<theirs::JsDecode>("t:x");
    case Transform::kLength:
      return std::make_unique<theirs::Length>("t:x");
    case Transform::kLowercase:
      return std::make_unique<theirs::LowerCase>("t:x");
    case Transform::kMd5:
      return std::make_unique<theirs::Md5>("t:x");
    case Transform::kNormalizePath:
      return std::make_unique<theirs::NormalisePath>("t:x");
    case Transform::kNormalizePathWin:
      return std::make_unique<theirs::NormalisePathWin>("t:x");
    case Transform::kParityEven7bit:
      return std::make_unique<theirs::ParityEven7bit>("t:x");
    case Transform::kParityOdd7bit:
      return std::make_unique<theirs::ParityOdd7bit>("t:x");
    case Transform::kParityZero7bit:
      return std::make_unique<theirs::ParityZero7bit>("t:x");
    case Transform::kRemoveComments:
      return std::make_unique<theirs::RemoveComments>("t:x");
    case Transform::kRemoveCommentsChar:
      return std::make_unique<theirs::RemoveCommentsChar>("t:x");
    case Transform::kRemoveNulls:
      return std::make_unique<theirs::RemoveNulls>("t:x");
    case Transform::kRemoveWhitespace:
      return std::make_unique<theirs::RemoveWhitespace>("t:x");
    case Transform::kReplaceComments:
      return std::make_unique<theirs::ReplaceComments>("t:x");
    case Transform::kReplaceNulls:
      return std::make_unique<theirs::ReplaceNulls>("t:x");
    case Transform::kSha1:
      return std::make_unique<theirs::Sha1>("t:x");
    case Transform::kSqlHexDecode:
      return std::make_unique<theirs::SqlHexDecode>("t:x");
    case Transform::kTrim:
      return std::make_unique<theirs::Trim>("t:x");
    case Transform::kTrimLeft:
      return std::make_unique<theirs::TrimLeft>("t:x");
    case Transform::kTrimRight:
      return std::make_unique<theirs::TrimRight>("t:x");
    case Transform::kUppercase:
      return std::make_unique<theirs::UpperCase>("t:x");
    case Transform::kUrlDecode:
      return std::make_unique<theirs::UrlDecode>("t:x");
    case Transform::kUrlDecodeUni:
      return std::make_unique<theirs::UrlDecodeUni>("t:x");
    case Transform::kUrlEncode:
      return std::make_unique<theirs::UrlEncode>("t:x");
    case Transform::kUtf8ToUnicode:
      return std::make_unique<theirs::Utf8ToUnicode>("t:x");
  }
  return nullptr;
}

}  // namespace leeward::waf::reference
