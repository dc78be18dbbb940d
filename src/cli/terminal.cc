#include "cli/internal/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace leeward::cli {
namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

std::size_t width(std::string_view text) {
  std::size_t count = 0;
  bool escape = false;  // a colour sequence takes no room
  for (char c : text) {
    if (c == '\033') escape = true;
    if (!escape && !is_continuation(c)) ++count;
    if (escape && c == 'm') escape = false;
  }
  return count;
}

}  // namespace

Io process_io() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  bool dumb = term == nullptr || std::string_view(term) == "dumb";
  Io io{std::cin, std::cout, std::cerr};
  io.interactive = isatty(STDIN_FILENO) != 0 && isatty(STDERR_FILENO) != 0;
  io.color_allowed =
      isatty(STDOUT_FILENO) != 0 && !dumb && (no_color == nullptr || *no_color == '\0');
  return io;
}

int report(Io& io, const Error& error) {
  io.err << "leeward: " << printable(error.message) << std::endl;
  return exit_status(error.code);
}

Status confirm(Io& io, bool already, std::string_view question) {
  if (already) return {};
  if (!io.interactive)
    return fail(Code::kInvalid,
                "this command asks for confirmation and there is no terminal to ask "
                "on; add --yes to go ahead");
  io.err << question << " Type yes to go ahead: " << std::flush;
  std::string answer;
  std::getline(io.in, answer);
  if (answer == "yes") return {};
  return fail(Code::kRefused, "not confirmed; nothing was done");
}

std::string columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += "  ";
      line += row[i] + std::string(widths[i] - width(row[i]), ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string printable(std::string_view text) {
  std::string out(text);
  for (std::size_t i = 0; i < out.size(); ++i) {
    auto byte = static_cast<unsigned char>(out[i]);
    // 0xc2 0x80 … 0xc2 0x9f are the C1 controls in UTF-8.
    bool c1 = byte == 0xc2 && i + 1 < out.size() && static_cast<unsigned char>(out[i + 1]) < 0xa0;
    if (c1) out[i] = out[i + 1] = ' ';
    if (byte < 0x20 || byte == 0x7f) out[i] = ' ';
  }
  return out;
}

}  // namespace leeward::cli
