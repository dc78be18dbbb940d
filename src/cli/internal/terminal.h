// Where a command reads and writes, so that tests can hand in their own streams.
#pragma once

#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace leeward::cli {

struct Io {
  std::istream& in;
  std::ostream& out;           // data
  std::ostream& err;           // progress, questions, errors
  bool interactive = false;    // a person is there to answer: stdin and stderr are terminals
  bool color_allowed = false;  // stdout is a terminal that shows colours
};

// The process's own streams.
Io process_io();

// Prints "leeward: message" and returns the exit status of the code.
int report(Io& io, const Error& error);

// Lets a person confirm by typing "yes". Without a terminal it is kInvalid and tells of --yes; any
// other answer is kRefused. With `already` (--yes) nothing is asked.
Status confirm(Io& io, bool already, std::string_view question);

// Rows of cells as aligned columns, two blanks apart, the first row being the heads. Width counts
// characters, not bytes. Blanks at line ends are cut.
std::string columns(const std::vector<std::vector<std::string>>& rows);

// Bytes that could steer a terminal become blanks; what the network sent is printed through this.
std::string printable(std::string_view text);

}  // namespace leeward::cli
