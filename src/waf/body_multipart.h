// multipart/form-data bodies (RFC 7578) as libmodsecurity 3.0.9 reads them, with each of the
// oddities that its MULTIPART_* variables name, its own included. Applications disagree about
// malformed bodies, and attackers hide files in the difference; so the rules refuse what is odd,
// and the parser says so.
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
  bool crlf_line = false;  // no variable; together with lf_line it is CRLF_LF_LINES
  bool missing_semicolon = false;
  bool invalid_quoting = false;
  bool invalid_part = false;
  bool invalid_header_folding = false;
  bool file_limit_exceeded = false;
  bool fatal = false;  // no variable: the body, or its Content-Type, could not be read to the end
  // 1: a line looks like a boundary and is none. 2: a boundary followed the first, as in every
  // body.
  int unmatched_boundary = 0;

  bool crlf_lf_lines() const { return crlf_line && lf_line; }
  bool strict_error() const {  // unmatched_boundary has a rule of its own
    return fatal || boundary_quoted || boundary_whitespace || data_before || data_after ||
           header_folding || lf_line || missing_semicolon || invalid_quoting || invalid_part ||
           invalid_header_folding || file_limit_exceeded;
  }
};

struct MultipartFile {
  std::string field;      // FILES_NAMES: name="…"
  std::string filename;   // FILES: filename="…"
  std::size_t bytes = 0;  // FILES_SIZES
};

struct MultipartResult {
  // Empty unless finish() found the body complete.
  FieldList arguments;  // ARGS_POST: parts without a file name
  std::vector<MultipartFile> files;
  std::size_t files_bytes = 0;  // FILES_COMBINED_SIZE
  // Kept also of a body that is not complete.
  FieldList part_headers;  // MULTIPART_PART_HEADERS: the part's name; the line, with its line end
  FieldList names;         // MULTIPART_NAME: twice the name, also of parts that turned out invalid
  FieldList filenames;     // MULTIPART_FILENAME: twice the file's name
  MultipartFlags flags;
};

class MultipartBody {
 public:
  static constexpr std::size_t kLineBytesMax = 4096;  // of a part's header
  static constexpr std::size_t kFilesMax = 100;       // SecUploadFileLimit

  // `content_type` is the whole value of the request's Content-Type. One that names no usable
  // boundary is an error at once.
  MultipartBody(std::string_view content_type, const BodyLimits& limits,
                std::size_t files_max = kFilesMax);

  // The next bytes of the body. An error does not always end the reading, because the flags of what
  // follows matter as well; false when it does.
  bool feed(std::string_view bytes);
  bool finish();  // the body is complete; false when there was an error
  const std::optional<BodyError>& error() const { return error_; }
  const MultipartResult& result() const { return result_; }

 private:
  struct Header {
    std::string name;
    std::string value;
  };
  struct Part {
    std::string name;
    std::string filename;
    bool is_file = false;
    bool in_headers = true;
    bool data_read = false;  // a boundary right after the headers is data
    std::vector<Header> headers;
    std::vector<std::string> lines;  // of headers that are complete
    std::string line;                // the one that may still be folded
    std::string pending;             // a line end: data, or the boundary's
    std::string value;
    std::size_t bytes = 0;
  };

  bool flush(bool short_line);
  enum class Line { kBoundary, kData, kBroken };
  Line match_boundary(std::string_view line);
  bool end_boundary(std::string_view rest);
  bool is_final_boundary() const;
  void look_for_boundary_within();
  void begin_part();
  void end_part();
  void header_line();
  void folded_line();
  void new_header(std::string_view line);
  void end_headers();
  bool data_line();
  bool keep(std::size_t bytes);
  bool note(std::string message);  // an error that reading goes on after
  bool fail(std::string message);  // one that it does not

  MultipartResult result_;
  const BodyLimits limits_;
  const std::size_t files_max_;
  std::string boundary_;   // without its dashes
  std::string delimiter_;  // with them
  std::string buffer_;     // a line, or a piece of one, at most kLineBytesMax
  bool at_line_start_ = true;
  bool after_lf_ = false;  // the line before ended with LF alone
  std::size_t boundaries_ = 0;
  bool complete_ = false;
  std::optional<Part> part_;
  std::size_t parts_ = 0;
  std::size_t kept_bytes_ = 0;
  std::size_t offset_ = 0;
  std::optional<BodyError> error_;
};

}  // namespace leeward::waf
