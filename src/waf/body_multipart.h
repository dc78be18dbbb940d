// multipart/form-data bodies (RFC 7578) as libmodsecurity 3.0.9 reads them, with each of the
// oddities that its MULTIPART_* variables name. Applications disagree about malformed bodies, and
// attackers hide files in the difference; so the rules refuse what is odd, and the parser says so.
//
// Fed in pieces of any size. Threading: one parser for one body on one thread.
// Cost: linear in the body. Memory: values of fields, names and part headers, within BodyLimits;
// the content of files is counted, not kept.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "waf/body.h"
#include "waf/field_list.h"

namespace leeward::waf {

struct MultipartFlags {  // each is the variable MULTIPART_… of its name
  bool boundary_quoted = false;
  bool boundary_whitespace = false;
  bool data_before = false;
  bool data_after = false;
  bool header_folding = false;
  bool lf_line = false;
  bool crlf_line = false;  // the library has no variable; with lf_line it is CRLF_LF_LINES
  bool missing_semicolon = false;
  bool invalid_quoting = false;
  bool invalid_part = false;
  bool invalid_header_folding = false;
  bool file_limit_exceeded = false;
  bool unmatched_boundary = false;  // not part of strict_error()

  bool crlf_lf_lines() const { return crlf_line && lf_line; }
  // MULTIPART_STRICT_ERROR, `body_error` being MULTIPART's REQBODY_PROCESSOR_ERROR.
  bool strict_error(bool body_error) const {
    return body_error || boundary_quoted || boundary_whitespace || data_before || data_after ||
           header_folding || lf_line || missing_semicolon || invalid_quoting ||
           invalid_header_folding || file_limit_exceeded;
  }
};

struct MultipartFile {
  std::string field;      // FILES_NAMES: name="…"
  std::string filename;   // FILES: filename="…"
  std::size_t bytes = 0;  // FILES_SIZES
};

struct MultipartResult {
  FieldList arguments;  // ARGS_POST: parts without a file name
  std::vector<MultipartFile> files;
  std::size_t files_bytes = 0;  // FILES_COMBINED_SIZE
  FieldList part_headers;       // MULTIPART_PART_HEADERS: the part's name, "Header: value"
  FieldList names;              // MULTIPART_NAME: the part's name, the name
  FieldList filenames;          // MULTIPART_FILENAME: the part's name, the file's name
  MultipartFlags flags;
};

class MultipartBody {
 public:
  static constexpr std::size_t kLineBytesMax = 4096;  // a header line; a boundary is far shorter
  static constexpr std::size_t kFilesMax = 100;       // SecUploadFileLimit

  // `content_type` is the whole value of the request's Content-Type. A Content-Type that names no
  // usable boundary is an error at once.
  MultipartBody(std::string_view content_type, const BodyLimits& limits,
                std::size_t files_max = kFilesMax);

  bool feed(std::string_view bytes);  // false once there is an error; what follows is then ignored
  bool finish();                      // the body is complete; false when it is not
  const std::optional<BodyError>& error() const { return error_; }
  const MultipartResult& result() const { return result_; }

 private:
  struct Part {
    std::string name;
    std::string filename;
    bool has_name = false;
    bool is_file = false;
    std::vector<std::string> headers;
    std::string value;
    std::size_t bytes = 0;
  };

  bool fail(std::string message);

  MultipartResult result_;
  const BodyLimits limits_;
  const std::size_t files_max_;
  std::string boundary_;
  std::optional<BodyError> error_;
};

}  // namespace leeward::waf
