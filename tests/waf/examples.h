// Examples of what each rule of the Core Rule Set is about, and of what is near it and not: the
// files in examples/, a line each.
//
//   profile NAME TX=VALUE …         variables that crs-setup.conf would set ("!TX": that it would
//   not) text NAME VALUE                 @NAME@ stands for it in what follows unreachable ID,…
//   REASON         no request of ours makes these rules match always ID,… REASON              rules
//   that match every request ID,… + EDIT  EDIT …             this request must match these rules
//   ID,… - EDIT  EDIT …             this one must not
//
// Edits of a browser's GET of /, two spaces between them, \n \r \t \\ \xHH in their texts:
//   method M · path P · query Q (as sent) · protocol V · client ADDRESS · times N (sent so often)
//   arg N=V · form N=V (encoded for the query, the body) · body TEXT · type CONTENT-TYPE
//   json TEXT · xml TEXT · file FILENAME · part HEADERS-AND-CONTENT (of multipart/form-data)
//   field N: V (replaces) · more N: V (adds) · no N · cookie TEXT · agent TEXT
//   with PROFILE · status N · answer TEXT (what the server says)
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "request.h"

namespace leeward::waf::compared {

struct Example {
  std::string place;  // "sql.txt:12"
  std::vector<std::uint32_t> rules;
  bool matches = true;
  int times = 1;
  bool has_profile = false;
  Request request;
};

struct Examples {
  std::vector<Example> all;
  std::map<std::uint32_t, std::string> unreachable;
  std::set<std::uint32_t> always;
  // One rule for each profile, for the port that its requests come from.
  std::string profile_rules;
};

// The port of the profile with paranoia level `level`, 0 to 4, which every reading has.
std::uint16_t port_of_paranoia(int level);

// All *.txt in `directory`, by name; a line that is wrong ends the process with its place.
Examples read_examples(const std::string& directory);

}  // namespace leeward::waf::compared
