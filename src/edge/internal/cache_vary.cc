#include "edge/internal/cache_vary.h"

#include <algorithm>
#include <array>
#include <optional>

#include "edge/internal/cache_text.h"

namespace leeward::edge {
namespace {

std::string lowered(std::string_view text) {
  std::string out;
  for (char c : text) out += lower(c);
  return out;
}

struct Weighted {
  std::string name;   // lower case
  int weight = 1000;  // in thousandths
};

// RFC 9110 §12.4.2; a malformed weight counts as 1, as most servers read it.
int weight_of(std::string_view text) {
  if (text.empty() || (text[0] != '0' && text[0] != '1')) return 1000;
  int value = (text[0] - '0') * 1000;
  if (text.size() > 1 && text[1] == '.') {
    int unit = 100;
    for (char c : text.substr(2, 3)) {
      if (!is_digit(c)) break;
      value += (c - '0') * unit;
      unit /= 10;
    }
  }
  return std::min(value, 1000);
}

// The members of a weighted list (Accept-Language, Accept-Encoding), in the order given.
std::vector<Weighted> weighted_list(Fields fields, std::string_view name) {
  std::vector<Weighted> out;
  for (const Field& f : fields) {
    if (!same_name(f.name, name)) continue;
    std::string_view rest = f.value;
    while (auto member = next_member(rest)) {
      std::size_t semicolon = member->find(';');
      Weighted w{lowered(trim(member->substr(0, semicolon)))};
      if (w.name.empty()) continue;
      if (semicolon != std::string_view::npos) {
        std::string_view parameter = trim(member->substr(semicolon + 1));
        if (parameter.size() > 2 && lower(parameter[0]) == 'q' && parameter[1] == '=') {
          w.weight = weight_of(parameter.substr(2));
        }
      }
      out.push_back(std::move(w));
    }
  }
  return out;
}

std::vector<Weighted> languages(Fields request) {
  std::vector<Weighted> list = weighted_list(request, "accept-language");
  std::sort(list.begin(), list.end(), [](const Weighted& a, const Weighted& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.name < b.name;
  });
  return list;
}

void append_plain(std::string_view name, Fields request, std::string& out) {
  bool any = false;
  for (const Field& f : request) {
    if (!same_name(f.name, name)) continue;
    std::string_view rest = f.value.data() == nullptr ? std::string_view("") : f.value;
    while (auto member = next_member(rest)) {
      if (any) out += ',';
      any = true;
      out += *member;
    }
  }
  if (!any) out += '\x06';  // absent; no field value holds this
}

}  // namespace

std::string vary_names(Fields response) {
  std::vector<std::string> names;
  for (const Field& f : response) {
    if (!same_name(f.name, "vary")) continue;
    std::string_view rest = f.value;
    while (auto member = next_member(rest)) {
      if (!member->empty()) names.push_back(lowered(*member));
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::string out;
  for (const std::string& n : names) {
    if (!out.empty()) out += ',';
    out += n;
  }
  return out;
}

void append_variant(std::string_view names, Fields request, std::string& out) {
  while (!names.empty()) {
    std::size_t comma = names.find(',');
    std::string_view name = names.substr(0, comma);
    names = comma == std::string_view::npos ? std::string_view() : names.substr(comma + 1);
    out += '\x07';
    if (name == "accept-encoding") {
      Codings c = accepted_codings(request);
      if (c.brotli) out += 'b';
      if (c.gzip) out += 'g';
      if (c.zstd) out += 'z';
      if (!c.identity) out += '!';
    } else if (name == "accept-language") {
      if (find_field(request, name).data() == nullptr) {
        out += '\x06';
        continue;
      }
      for (const Weighted& w : languages(request)) {
        out += w.name;
        out += ';';
        out += std::to_string(w.weight);
        out += ',';
      }
    } else {
      append_plain(name, request, out);
    }
  }
}

Codings accepted_codings(Fields request) {
  Codings c;
  int star = -1;
  bool brotli_named = false, gzip_named = false, zstd_named = false, identity_named = false;
  for (const Weighted& w : weighted_list(request, "accept-encoding")) {
    bool yes = w.weight > 0;
    if (w.name == "br") {
      c.brotli = yes;
      brotli_named = true;
    } else if (w.name == "gzip" || w.name == "x-gzip") {
      c.gzip = yes;
      gzip_named = true;
    } else if (w.name == "zstd") {
      c.zstd = yes;
      zstd_named = true;
    } else if (w.name == "identity") {
      c.identity = yes;
      identity_named = true;
    } else if (w.name == "*") {
      star = yes ? 1 : 0;
    }
  }
  if (star == 1) {
    if (!brotli_named) c.brotli = true;
    if (!gzip_named) c.gzip = true;
    if (!zstd_named) c.zstd = true;
  }
  if (star == 0 && !identity_named) c.identity = false;
  return c;
}

bool accepts_other_codings(Fields request, std::string_view content_encoding) {
  std::optional<std::vector<Weighted>> accepted;
  while (auto member = next_member(content_encoding)) {
    const std::string coding = lowered(*member);
    static constexpr std::array<std::string_view, 6> kInVariant = {"br",   "gzip",     "x-gzip",
                                                                   "zstd", "identity", ""};
    if (std::find(kInVariant.begin(), kInVariant.end(), coding) != kInVariant.end()) continue;
    if (!accepted) accepted = weighted_list(request, "accept-encoding");
    int weight = 0;
    for (const Weighted& w : *accepted) {
      if (w.name == coding || (w.name == "*" && weight == 0)) weight = w.weight;
      if (w.name == coding) break;
    }
    if (weight == 0) return false;
  }
  return true;
}

std::string preferred_language(Fields request) {
  std::vector<Weighted> list = languages(request);
  if (list.empty() || list[0].name == "*" || list[0].weight == 0) return {};
  if (list.size() > 1 && list[1].weight == list[0].weight) return {};
  return list[0].name;
}

}  // namespace leeward::edge
