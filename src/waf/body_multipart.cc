#include "waf/body_multipart.h"

#include <algorithm>
#include <utility>

#include "waf/internal/bytes.h"
#include "waf/internal/content_disposition.h"

namespace leeward::waf {
namespace {

constexpr std::string_view kDisposition = "Content-Disposition";

bool is_space_char(char c) { return is_space(static_cast<unsigned char>(c)); }

std::string_view without_line_end(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

MultipartBody::MultipartBody(std::string_view content_type, const BodyLimits& limits,
                             std::size_t files_max)
    : limits_(limits), files_max_(files_max) {
  BoundaryParameter parameter = read_boundary(content_type);
  result_.flags.missing_semicolon = parameter.missing_semicolon;
  result_.flags.boundary_whitespace = parameter.whitespace;
  result_.flags.boundary_quoted = parameter.quoted;
  if (!parameter.error.empty()) {
    fail(std::move(parameter.error));
    return;
  }
  boundary_ = std::move(parameter.boundary);
  delimiter_ = "--" + boundary_;
}

bool MultipartBody::note(std::string message) {
  if (!error_) error_ = BodyError{std::move(message), offset_};
  return false;
}

bool MultipartBody::fail(std::string message) {
  result_.flags.fatal = true;
  return note(std::move(message));
}

bool MultipartBody::keep(std::size_t bytes) {
  kept_bytes_ += bytes;
  if (kept_bytes_ <= limits_.text_bytes_max) return true;
  return fail("names, headers and values of more than " + std::to_string(limits_.text_bytes_max) +
              " bytes");
}

bool MultipartBody::feed(std::string_view bytes) {
  while (!bytes.empty() && !result_.flags.fatal) {
    if (complete_) {
      result_.flags.data_after = true;
      break;
    }
    const std::size_t room = kLineBytesMax - buffer_.size();
    const std::string_view reach = bytes.substr(0, room);
    const std::size_t line_end = reach.find('\n');
    const bool has_line_end = line_end != std::string_view::npos;
    std::size_t taken = has_line_end ? line_end + 1 : reach.size();
    // A CR is never the last byte of a full buffer: it may belong to a line end.
    const bool cr_waits = !has_line_end && taken == room && bytes[taken - 1] == '\r';
    if (cr_waits) --taken;
    buffer_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    offset_ += taken;
    if (!has_line_end && !cr_waits && buffer_.size() < kLineBytesMax) break;
    if (!flush(has_line_end && buffer_.size() < kLineBytesMax)) break;
    at_line_start_ = has_line_end;
    if (has_line_end) {
      const std::size_t size = buffer_.size();
      after_lf_ = size < 2 || buffer_[size - 2] != '\r';
    }
    buffer_.clear();
  }
  return !result_.flags.fatal;
}

// The buffer holds a line or a piece of one. `short_line`: its end has been seen within the bound.
bool MultipartBody::flush(bool short_line) {
  if (at_line_start_) {
    const std::string_view text = std::string_view(buffer_).substr(0, buffer_.find('\0'));
    if (text.size() > 3 && text.starts_with("--")) {
      const Line line = match_boundary(text);
      if (line != Line::kData) return line == Line::kBoundary;
    } else {
      look_for_boundary_within();
    }
  }
  if (!part_) {
    result_.flags.data_before = true;
    return true;
  }
  if (!part_->in_headers) return data_line();
  if (!short_line)
    return fail("Part header line over " + std::to_string(kLineBytesMax) + " bytes long");
  header_line();
  return !result_.flags.fatal;
}

void MultipartBody::look_for_boundary_within() {
  if (buffer_.find(delimiter_) != std::string::npos) result_.flags.unmatched_boundary = 1;
}

MultipartBody::Line MultipartBody::match_boundary(std::string_view line) {
  MultipartFlags& flags = result_.flags;
  if (line.starts_with(delimiter_)) {
    if (after_lf_) flags.lf_line = true;
    if (part_ && !part_->data_read) {  // in the place of headers, or of the data's first line
      flags.invalid_part = true;
      return Line::kData;
    }
    if (boundaries_ > 0) flags.unmatched_boundary = 2;
    return end_boundary(line.substr(delimiter_.size())) ? Line::kBoundary : Line::kBroken;
  }
  std::string_view after = line.substr(2);
  if (flags.boundary_quoted && after.starts_with('"') && after.substr(1).starts_with(boundary_)) {
    fail("Invalid boundary (quotes).");
    return Line::kBroken;
  }
  while (!after.empty() && is_space_char(after.front())) after.remove_prefix(1);
  if (after.size() < line.size() - 2 && after.starts_with(boundary_)) {
    fail("Invalid boundary (whitespace).");
    return Line::kBroken;
  }
  flags.unmatched_boundary = 1;
  return Line::kData;
}

// `rest` is what follows the boundary in its line.
bool MultipartBody::end_boundary(std::string_view rest) {
  const bool final = rest.starts_with("--");
  if (final) rest.remove_prefix(2);
  // A NUL after the line's text has cut it, and then it has no end.
  if (rest != "\r\n" && rest != "\n") return fail("Invalid boundary.");
  (rest == "\n" ? result_.flags.lf_line : result_.flags.crlf_line) = true;
  end_part();
  ++boundaries_;
  complete_ = final;
  if (!final) begin_part();
  return !result_.flags.fatal;
}

void MultipartBody::begin_part() { part_.emplace(Part{}); }

void MultipartBody::end_part() {
  if (!part_) return;
  Part& part = *part_;
  for (const std::string& line : part.lines) result_.part_headers.add(part.name, line);
  if (part.name.empty()) {
    result_.flags.invalid_part = true;
  } else if (++parts_ > limits_.fields_max) {
    fail("more than " + std::to_string(limits_.fields_max) + " parts");
  } else if (part.is_file) {
    result_.files_bytes += part.bytes;
    result_.files.push_back({std::move(part.name), std::move(part.filename), part.bytes});
  } else {
    result_.arguments.add(part.name, part.value);
  }
  part_.reset();
}

void MultipartBody::header_line() {
  if (buffer_.find('\0') != std::string::npos) {
    note("Nul byte in part headers.");
    return;
  }
  const bool crlf = buffer_.size() > 1 && buffer_[buffer_.size() - 2] == '\r';
  (crlf ? result_.flags.crlf_line : result_.flags.lf_line) = true;
  if (!keep(buffer_.size())) return;
  if (buffer_ == "\r\n" || buffer_ == "\n") {
    if (!part_->line.empty()) part_->lines.push_back(std::exchange(part_->line, {}));
    return end_headers();
  }
  if (is_space_char(buffer_[0])) return folded_line();
  if (!part_->line.empty()) part_->lines.push_back(std::exchange(part_->line, {}));
  new_header(buffer_);
}

void MultipartBody::folded_line() {
  result_.flags.header_folding = true;
  std::string_view text = buffer_;
  // RFC 2557 folds with blanks and tabs; PHP and others take any white space.
  if (text[0] != ' ' && text[0] != '\t') result_.flags.invalid_header_folding = true;
  if (part_->headers.empty()) {
    note("Invalid part header (folding error).");
    return;
  }
  for (; !text.empty() && is_space_char(text.front()); text.remove_prefix(1))
    if (text[0] != ' ' && text[0] != '\t') result_.flags.invalid_header_folding = true;
  Header& header = part_->headers.back();
  header.value.append(" ").append(without_line_end(text));
  if (header.value.size() > kLineBytesMax) {
    note("Part header too long.");
    return;
  }
  part_->line = header.name + ": " + header.value;
}

void MultipartBody::new_header(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) {
    note("Invalid part header (colon missing): " + std::string(line));
    return;
  }
  const std::string_view name = line.substr(0, colon);
  if (name.empty()) {
    note("Invalid part header (header name missing).");
    return;
  }
  for (const Header& header : part_->headers)
    if (equal_ignoring_case(header.name, name)) return;  // the first one counts
  std::string_view value = line.substr(colon + 1);
  while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
  part_->headers.push_back({std::string(name), std::string(without_line_end(value))});
  part_->line = line;
}

void MultipartBody::end_headers() {
  Part& part = *part_;
  const auto found = std::find_if(
      part.headers.begin(), part.headers.end(),
      [](const Header& header) { return equal_ignoring_case(header.name, kDisposition); });
  if (found == part.headers.end()) {
    note("Part missing Content-Disposition header.");
    return;
  }
  Disposition disposition = read_disposition(found->value, part.name, part.filename);
  result_.flags.invalid_quoting = result_.flags.invalid_quoting || disposition.invalid_quoting;
  for (const std::string& name : disposition.names) result_.names.add(name, name);
  for (const std::string& name : disposition.filenames) result_.filenames.add(name, name);
  if (!disposition.error.empty()) {
    note("Invalid Content-Disposition header (" + disposition.error + "): " + found->value);
  } else if (part.name.empty()) {
    note("Content-Disposition header missing name field.");
  } else if (!part.filename.empty() && found->value.find("filename=") == std::string::npos) {
    note("Invalid Content-Disposition header (filename).");  // not read so by everybody
  } else {
    part.is_file = !part.filename.empty();
    part.in_headers = false;
  }
}

// The line end before a boundary is not data, so each one waits until the next line is known.
bool MultipartBody::data_line() {
  Part& part = *part_;
  part.data_read = true;
  std::string_view data = buffer_;
  const std::size_t line_end = data.ends_with("\r\n") ? 2 : data.ends_with('\n') ? 1 : 0;
  data.remove_suffix(line_end);
  part.bytes += part.pending.size() + data.size();
  if (part.is_file) {
    if (result_.files.size() >= files_max_ && !result_.flags.file_limit_exceeded) {
      result_.flags.file_limit_exceeded = true;
      note("Upload file limit exceeded " + std::to_string(files_max_) +
           ". Use SecUploadFileLimit to change the limit.");
    }
  } else {
    if (!keep(part.pending.size() + data.size())) return false;
    part.value.append(part.pending).append(data);
  }
  part.pending.assign(buffer_, buffer_.size() - line_end);
  return true;
}

bool MultipartBody::is_final_boundary() const {
  return at_line_start_ && buffer_.size() == delimiter_.size() + 2 &&
         buffer_.starts_with(delimiter_) && buffer_.ends_with("--");
}

bool MultipartBody::finish() {
  if (!complete_ && !result_.flags.fatal && offset_ > 0) {
    if (boundaries_ == 0) {
      note("No boundaries found in payload.");
    } else if (is_final_boundary()) {  // without the end of its line
      if (after_lf_) result_.flags.lf_line = true;
      if (part_ && !part_->data_read) result_.flags.invalid_part = true;
      end_part();
      complete_ = true;
    } else {
      note("Final boundary missing.");
    }
  }
  if (!complete_ || result_.flags.fatal) {
    result_.arguments.clear();
    result_.files.clear();
    result_.files_bytes = 0;
  }
  return !error_;
}

}  // namespace leeward::waf
