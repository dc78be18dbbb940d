#include "waf/body_multipart.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "corpus.h"
#include "reference_request.h"

namespace leeward::waf {
namespace {

using namespace std::string_view_literals;
using reference::Pairs;

// What both make of a body, as text, so that a difference can be read.
struct Outcome {
  Pairs arguments, files, files_names, files_sizes, part_headers, names, filenames;
  std::string flags;
  bool error = false;
};

std::string without_line_ends(std::string text) {
  for (std::size_t at; (at = text.find('\n')) != std::string::npos;) {
    const bool crlf = at > 0 && text[at - 1] == '\r';
    text.erase(crlf ? at - 1 : at, crlf ? 2 : 1);
  }
  return text;
}

Pairs pairs(const FieldList& fields) {
  Pairs result;
  for (const Field field : fields) result.emplace_back(field.name, field.value);
  return result;
}

std::string flags_text(const MultipartFlags& f) {
  return fmt::format(
      "quoted={:d} whitespace={:d} before={:d} after={:d} folding={:d} lf={:d} crlf_lf={:d} "
      "semicolon={:d} quoting={:d} part={:d} invalid_folding={:d} strict={:d} unmatched={}",
      f.boundary_quoted, f.boundary_whitespace, f.data_before, f.data_after, f.header_folding,
      f.lf_line, f.crlf_lf_lines(), f.missing_semicolon, f.invalid_quoting, f.invalid_part,
      f.invalid_header_folding, f.strict_error(), f.unmatched_boundary);
}

struct Parsed {
  MultipartResult result;
  std::optional<BodyError> error;
};

Parsed parsed(std::string_view content_type, std::string_view body,
              std::size_t piece = std::string::npos, const BodyLimits& limits = {}) {
  MultipartBody multipart(content_type, limits);
  for (std::size_t at = 0; at < body.size(); at += std::min(piece, body.size() - at))
    if (!multipart.feed(body.substr(at, piece))) break;
  multipart.finish();
  return {multipart.result(), multipart.error()};
}

Outcome outcome_of(const Parsed& parsed) {
  Outcome outcome;
  const MultipartResult& result = parsed.result;
  for (const Field field : result.arguments)
    outcome.arguments.emplace_back(field.name, without_line_ends(std::string(field.value)));
  for (const MultipartFile& file : result.files) {
    outcome.files.emplace_back(file.field, file.filename);
    outcome.files_names.emplace_back(file.field, file.field);
    outcome.files_sizes.emplace_back(file.field, std::to_string(file.bytes));
  }
  outcome.part_headers = pairs(result.part_headers);
  outcome.names = pairs(result.names);
  outcome.filenames = pairs(result.filenames);
  outcome.flags = flags_text(result.flags);
  outcome.error = parsed.error.has_value();
  for (Pairs* list :
       {&outcome.arguments, &outcome.files, &outcome.files_names, &outcome.files_sizes,
        &outcome.part_headers, &outcome.names, &outcome.filenames})
    *list = reference::sorted(std::move(*list));
  return outcome;
}

Outcome outcome_of(reference::Engine& engine, const std::string& content_type,
                   const std::string& body) {
  reference::Request request(engine);
  request.body(content_type, body);
  auto& t = request.transaction;
  Outcome outcome;
  for (auto& [name, value] : reference::contents(t.m_variableArgsPost))
    outcome.arguments.emplace_back(name, without_line_ends(value));
  outcome.arguments = reference::sorted(std::move(outcome.arguments));
  outcome.files = reference::contents(t.m_variableFiles);
  outcome.files_names = reference::contents(t.m_variableFilesNames);
  outcome.files_sizes = reference::contents(t.m_variableFilesSizes);
  outcome.part_headers = reference::contents(t.m_variableMultipartPartHeaders);
  outcome.names = reference::contents(t.m_variableMultipartName);
  outcome.filenames = reference::contents(t.m_variableMultipartFileName);
  const auto flag = [](modsecurity::AnchoredVariable& variable) {
    return std::atoi(reference::value_of(variable).c_str());
  };
  outcome.flags = fmt::format(
      "quoted={} whitespace={} before={} after={} folding={} lf={} crlf_lf={} semicolon={} "
      "quoting={} "
      "part={} invalid_folding={} strict={} unmatched={}",
      flag(t.m_variableMultipartBoundaryQuoted), flag(t.m_variableMultipartBoundaryWhiteSpace),
      flag(t.m_variableMultipartDataBefore), flag(t.m_variableMultipartDataAfter),
      flag(t.m_variableMultipartHeaderFolding), flag(t.m_variableMultipartLFLine),
      flag(t.m_variableMultipartCrlfLFLines), flag(t.m_variableMultipartMissingSemicolon),
      flag(t.m_variableMultipartInvalidQuoting), flag(t.m_variableMultipartInvalidPart),
      flag(t.m_variableMultipartInvalidHeaderFolding), flag(t.m_variableMultipartStrictError),
      flag(t.m_variableMultipartUnmatchedBoundary));
  outcome.error = flag(t.m_variableReqbodyError) == 1;
  return outcome;
}

void same_as_reference(reference::Engine& engine, const std::string& content_type,
                       const std::string& body) {
  const Parsed result = parsed(content_type, body);
  // A quote that does not end lets the library read behind its own text.
  if (result.error && result.error->message.find("quote missing") != std::string::npos) return;
  const Outcome ours = outcome_of(result);
  const Outcome theirs = outcome_of(engine, content_type, body);
  const std::string where = content_type + " | " + shown(body);
  EXPECT_EQ(ours.flags, theirs.flags) << where;
  EXPECT_EQ(ours.error, theirs.error) << where << (result.error ? result.error->message : "");
  EXPECT_EQ(ours.arguments, theirs.arguments) << where;
  EXPECT_EQ(ours.files, theirs.files) << where;
  EXPECT_EQ(ours.files_names, theirs.files_names) << where;
  EXPECT_EQ(ours.files_sizes, theirs.files_sizes) << where;
  EXPECT_EQ(ours.part_headers, theirs.part_headers) << where;
  EXPECT_EQ(ours.names, theirs.names) << where;
  EXPECT_EQ(ours.filenames, theirs.filenames) << where;
}

constexpr char kRules[] = "SecRuleEngine DetectionOnly\nSecRequestBodyAccess On\n";

constexpr std::string_view kLines[] = {"--B\r\n",
                                       "--B\r\n",
                                       "--B\r\n",
                                       "--B--\r\n",
                                       "--B--\r\n",
                                       "--B--",
                                       "--B\n",
                                       "--B--\n",
                                       "--Bx\r\n",
                                       "--B-\r\n",
                                       "-- B\r\n",
                                       "--\"B\"\r\n",
                                       "--C\r\n",
                                       "x--B\r\n",
                                       "--b\r\n",
                                       "--\r\n",
                                       "--B\r\r\n",
                                       "--B\0\r\n"sv,
                                       "Content-Disposition: form-data; name=\"a\"\r\n\r\n",
                                       "Content-Disposition: form-data; name=\"a\"\r\n\r\n",
                                       "Content-Disposition: form-data; name=\"f\"; "
                                       "filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\n",
                                       "Content-Disposition: form-data; name=\"c\"\n\n",
                                       "content-disposition: form-data; name=d\r\n",
                                       "Content-Disposition: form-data; filename=\"y\"\r\n",
                                       "Content-Disposition: attachment\r\n",
                                       "Content-Disposition:form-data;name=a\r\n",
                                       "Content-Type: text/plain\r\n",
                                       "X\r\n",
                                       "X: y\r\n",
                                       " folded\r\n",
                                       "\tfolded\r\n",
                                       "\vfolded\r\n",
                                       ": empty\r\n",
                                       "A B: c\r\n",
                                       "N\0: x\r\n"sv,
                                       "\r\n",
                                       "\r\n",
                                       "\r\n",
                                       "\n",
                                       "value",
                                       "value\r\n",
                                       "two\r\nlines\r\n",
                                       "v\0w\r\n"sv,
                                       "v\n",
                                       "v\r",
                                       "\xc3\xa9\r\n"};

TEST(MultipartBody, GivesWhatTheReferenceGives) {
  reference::Engine engine(kRules);
  Corpus corpus(20260401, kLines);
  for (std::size_t left = cases(10'000); left > 0 && !HasFailure(); --left)
    same_as_reference(engine, "multipart/form-data; boundary=B", corpus.next(2 + left % 12));
}

constexpr std::string_view kDispositions[] = {"form-data",
                                              "form-data;",
                                              "; ",
                                              ";",
                                              " ",
                                              "\t",
                                              "name",
                                              "name=",
                                              "name=a",
                                              "name=\"a\"",
                                              "name='a'",
                                              "name=\"\"",
                                              "name=\"a'b\"",
                                              "name=a'b",
                                              "name=\"a\\\"b\"",
                                              "name=\"a\\\\b\"",
                                              "name=\"a\\b\"",
                                              "name = a",
                                              "filename=x",
                                              "filename=\"x y\"",
                                              "filename=\"\"",
                                              "filename='x'",
                                              "filename=\"a;b=c\"",
                                              "filename*=UTF-8''%41b",
                                              "filename*=''x",
                                              "filename*=UTF-8'en'x",
                                              "filename*=UTF-8'x",
                                              "filename*=UTF-8''%4",
                                              "filename*=UTF-8''a(b",
                                              "filename*=u''",
                                              "foo=bar",
                                              "=",
                                              "\"",
                                              "\\",
                                              "Name=a",
                                              "name=\xc3\xa9",
                                              "x"};

TEST(MultipartBody, ReadsContentDispositionsAsTheReferenceDoes) {
  reference::Engine engine(kRules);
  Corpus corpus(20260402, kDispositions);
  for (std::size_t left = cases(10'000); left > 0 && !HasFailure(); --left) {
    const std::string start = left % 8 == 0   ? ""
                              : left % 2 == 0 ? "form-data; "
                                              : "form-data; name=\"a\"; ";
    const std::string value = start + corpus.next(1 + left % 6);
    if (value.find_first_of("\r\n") != std::string::npos) continue;
    same_as_reference(engine, "multipart/form-data; boundary=B",
                      "--B\r\nContent-Disposition: " + value + "\r\n\r\nv\r\n--B--\r\n");
  }
}

constexpr std::string_view kTypes[] = {"; ",
                                       ";",
                                       " ",
                                       "boundary",
                                       "boundary=",
                                       "boundary=B",
                                       "boundary=\"B\"",
                                       "Boundary=B",
                                       "BOUNDARY=B",
                                       "=",
                                       "B",
                                       "\"",
                                       "B\"",
                                       "charset=utf-8",
                                       "\t",
                                       "x",
                                       "x=y",
                                       "boundary =B",
                                       "boundary= B",
                                       "?",
                                       "@",
                                       "'()+_,-./:=?",
                                       "%"};

TEST(MultipartBody, ReadsContentTypesAsTheReferenceDoes) {
  reference::Engine engine(kRules);
  Corpus corpus(20260403, kTypes);
  const std::string body =
      "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n--B--\r\n";
  for (std::size_t left = cases(10'000); left > 0 && !HasFailure(); --left) {
    const std::string type =
        (left % 4 == 0 ? "Multipart/Form-Data" : "multipart/form-data; boundary=B") +
        corpus.next(1 + left % 5);
    if (type.find('\0') != std::string::npos) continue;
    // An empty boundary is no error for the library, which then reads nothing.
    const Parsed ours = parsed(type, body);
    if (ours.error && ours.error->message.find("(empty)") != std::string::npos) continue;
    same_as_reference(engine, type, body);
  }
}

TEST(MultipartBody, ReadsLongLinesAsTheReferenceDoes) {
  reference::Engine engine(kRules);
  const std::string head = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";
  const std::string file =
      "--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"x\"\r\n\r\n";
  for (std::size_t size = 4085; size <= 4100; ++size) {
    const std::string line(size, 'x');
    for (const std::string end : {"\r\n", "\n", "\r\r\n"}) {
      for (const std::string& start : {head, file}) {
        same_as_reference(engine, "multipart/form-data; boundary=B",
                          start + line + end + "--B--\r\n");
        same_as_reference(engine, "multipart/form-data; boundary=B",
                          start + line + end + line + end + "--B--\r\n");
      }
      same_as_reference(engine, "multipart/form-data; boundary=B",
                        "--B\r\nX: " + line + end + head.substr(5) + "v\r\n--B--\r\n");
      same_as_reference(engine, "multipart/form-data; boundary=B",
                        line + end + head + "v\r\n--B--\r\n");
    }
  }
}

TEST(MultipartBody, DoesNotDependOnWhereItIsCut) {
  Corpus corpus(20260404, kLines);
  for (std::size_t left = cases(2'000); left > 0 && !HasFailure(); --left) {
    const std::string body = corpus.next(14);
    const Parsed whole = parsed("multipart/form-data; boundary=B", body);
    for (const std::size_t piece : {1u, 2u, 5u}) {
      const Parsed cut = parsed("multipart/form-data; boundary=B", body, piece);
      EXPECT_EQ(outcome_of(cut).flags, outcome_of(whole).flags) << shown(body);
      EXPECT_TRUE(cut.result.arguments == whole.result.arguments) << shown(body);
      EXPECT_EQ(cut.error.has_value(), whole.error.has_value()) << shown(body);
    }
  }
}

TEST(MultipartBody, KeepsTheLinesOfAValue) {
  const Parsed body = parsed(
      "multipart/form-data; boundary=B",
      "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n\r\ntwo\n\r\n--B--\r\n");
  EXPECT_FALSE(body.error);
  EXPECT_EQ(pairs(body.result.arguments), (Pairs{{"a", "one\r\n\r\ntwo\n"}}));
}

TEST(MultipartBody, RefusesAnEmptyBoundary) {
  for (const char* type :
       {"multipart/form-data; boundary=", "multipart/form-data; boundary=\"\""}) {
    EXPECT_TRUE(parsed(type, "").error) << type;
    EXPECT_TRUE(parsed(type, "").result.flags.strict_error()) << type;
  }
}

TEST(MultipartBody, EndsAtItsLimits) {
  const std::string part = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n";
  const std::string file =
      "--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"x\"\r\n\r\nv\r\n";
  std::string parts;
  std::string files;
  for (int i = 0; i < 3'000; ++i) parts += part;
  for (int i = 0; i < 101; ++i) files += file;
  EXPECT_NE(parsed("multipart/form-data; boundary=B", parts).error->message.find("1000 parts"),
            std::string::npos);
  EXPECT_TRUE(parsed("multipart/form-data; boundary=B", files + "--B--\r\n")
                  .result.flags.file_limit_exceeded);
  const BodyLimits small{.text_bytes_max = 1000};
  const std::string big =
      "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" + std::string(5'000, 'x');
  EXPECT_NE(parsed("multipart/form-data; boundary=B", big, std::string::npos, small)
                .error->message.find("1000 bytes"),
            std::string::npos);
}

}  // namespace
}  // namespace leeward::waf
