// The two header values that a multipart/form-data body hangs on, read as strictly and as laxly as
// libmodsecurity 3.0.9 reads them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace leeward::waf {

struct BoundaryParameter {
  std::string boundary;
  bool missing_semicolon = false;
  bool whitespace = false;
  bool quoted = false;
  std::string error;  // empty when there is a boundary
};

// Of a Content-Type "multipart/form-data; boundary=…".
BoundaryParameter read_boundary(std::string_view content_type);

struct Disposition {
  // Every value of name= and filename=, in order, doubles too.
  std::vector<std::string> names;
  std::vector<std::string> filenames;
  bool invalid_quoting = false;
  std::string error;  // empty when the header is well-formed
};

// Of a Content-Disposition. `name` and `filename` get what was understood, also before an error.
Disposition read_disposition(std::string_view value, std::string& name, std::string& filename);

}  // namespace leeward::waf
