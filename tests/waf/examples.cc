#include "examples.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace leeward::waf::compared {
namespace {

constexpr std::uint16_t kFirstPort = 1000;
constexpr std::uint32_t kFirstProfileRule = 100000;
constexpr std::string_view kBoundary = "b0undary";

[[noreturn]] void wrong(const std::string& place, std::string_view what) {
  fmt::print(stderr, "{}: {}\n", place, what);
  std::exit(2);
}

std::string unescaped(std::string_view text, const std::string& place) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) wrong(place, "a \\ ends the text");
    switch (text[i]) {
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case '\\':
        out += '\\';
        break;
      case 'x': {
        unsigned value = 0;
        const char* begin = text.data() + i + 1;
        const char* end = text.data() + std::min(text.size(), i + 3);
        if (std::from_chars(begin, end, value, 16).ptr != begin + 2)
          wrong(place, "\\x is not followed by two hexadecimal digits");
        out += static_cast<char>(value);
        i += 2;
        break;
      }
      default:
        wrong(place, fmt::format("\\{} is no escape", text[i]));
    }
  }
  return out;
}

std::string url_encoded(std::string_view text) {
  std::string out;
  for (const unsigned char c : text) {
    if (std::isalnum(c) || c == '-' || c == '_' || c == '.')
      out += static_cast<char>(c);
    else
      out += fmt::format("%{:02X}", c);
  }
  return out;
}

// "a=b" to "a=b" with both encoded; a text without '=' is a name alone.
std::string pair_encoded(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) return url_encoded(text);
  return url_encoded(text.substr(0, equals)) + "=" + url_encoded(text.substr(equals + 1));
}

std::string_view word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view first = line.substr(0, end);
  line.remove_prefix(std::min(line.size(), end + 1));
  return first;
}

class Composer {
 public:
  Composer(Example& example, const std::string& place) : example_(example), place_(place) {
    request().fields = {
        {"Host", "shop.test"},
        {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"},
        {"Accept", "text/html,application/xhtml+xml;q=0.9"}};
    request().client_port = port_of_paranoia(4);
  }

  // False: there is no such edit.
  bool edit(std::string_view name, const std::string& value) {
    return edit_head(name, value) || edit_body(name, value) || edit_answer(name, value);
  }

  void finish() {
    std::string target = path_;
    if (!query_.empty()) target += "?" + query_;
    request().target = target;
    if (parts_.empty() && body_.empty() && type_.empty()) return;
    if (!parts_.empty()) body_ = parts_ + fmt::format("--{}--\r\n", kBoundary);
    if (request().method == "GET" && !method_is_given_) request().method = "POST";
    if (type_.empty()) type_ = "application/x-www-form-urlencoded";
    add("Content-Type", type_);
    add("Content-Length", std::to_string(body_.size()));
    request().body = body_;
  }

 private:
  Request& request() { return example_.request; }

  std::pair<std::string, std::string> field(std::string_view value) const {
    const std::size_t colon = value.find(':');
    if (colon == std::string_view::npos) wrong(place_, "a field is NAME: VALUE");
    const std::size_t begin = std::min(value.find_first_not_of(' ', colon + 1), value.size());
    return {std::string(value.substr(0, colon)), std::string(value.substr(begin))};
  }
  void set(const std::string& name, const std::string& value) {
    for (auto& [have, text] : request().fields) {
      if (have != name) continue;
      text = value;
      return;
    }
    request().fields.emplace_back(name, value);
  }
  // Unless an edit has set it or taken it out.
  void add(const std::string& name, const std::string& value) {
    if (without_.contains(name)) return;
    const auto& fields = request().fields;
    if (std::none_of(fields.begin(), fields.end(), [&](const auto& f) { return f.first == name; }))
      request().fields.emplace_back(name, value);
  }

  bool edit_head(std::string_view name, const std::string& value) {
    if (name == "method") {
      request().method = value;
      method_is_given_ = true;
    } else if (name == "path") {
      path_ = value;
    } else if (name == "query") {
      query_ += (query_.empty() ? "" : "&") + value;
    } else if (name == "arg") {
      query_ += (query_.empty() ? "" : "&") + pair_encoded(value);
    } else if (name == "protocol") {
      request().protocol = value;
    } else if (name == "client") {
      request().client = value;
    } else if (name == "field") {
      const auto [field_name, text] = field(value);
      set(field_name, text);
    } else if (name == "more") {
      request().fields.push_back(field(value));
    } else if (name == "no") {
      without_.insert(value);
      std::erase_if(request().fields, [&](const auto& f) { return f.first == value; });
    } else if (name == "cookie") {
      set("Cookie", value);
    } else if (name == "agent") {
      set("User-Agent", value);
    } else {
      return false;
    }
    return true;
  }

  bool edit_body(std::string_view name, const std::string& value) {
    if (name == "form") {
      body_ += (body_.empty() ? "" : "&") + pair_encoded(value);
    } else if (name == "body") {
      body_ = value;
    } else if (name == "type") {
      type_ = value;
    } else if (name == "json" || name == "xml") {
      body_ = value;
      type_ = fmt::format("application/{}", name);
    } else if (name == "file") {
      part(fmt::format(
          "Content-Disposition: form-data; name=\"upload\"; filename=\"{}\"\r\n\r\nhello", value));
    } else if (name == "part") {
      part(value);
    } else {
      return false;
    }
    return true;
  }
  void part(const std::string& text) {
    parts_ += fmt::format("--{}\r\n{}\r\n", kBoundary, text);
    type_ = fmt::format("multipart/form-data; boundary={}", kBoundary);
  }

  bool edit_answer(std::string_view name, const std::string& value) {
    if (name == "times") {
      example_.times = std::atoi(value.c_str());
      return example_.times > 0;
    }
    if (name != "answer" && name != "status") return false;
    if (!request().answer) request().answer.emplace();
    if (name == "answer")
      request().answer->body = value;
    else
      request().answer->status = std::atoi(value.c_str());
    return true;
  }

  Example& example_;
  const std::string& place_;
  std::string path_ = "/", query_, body_, type_, parts_;
  std::set<std::string> without_;
  bool method_is_given_ = false;
};

class Reader {
 public:
  Reader() {
    for (int level = 0; level <= 4; ++level)
      profile(fmt::format("pl{}", level), fmt::format("paranoia_level={}", level));
  }

  void file(const std::filesystem::path& path) {
    std::ifstream in(path);
    std::string line;
    for (int number = 1; std::getline(in, line); ++number) {
      place_ = fmt::format("{}:{}", path.filename().string(), number);
      if (!line.empty() && line[0] != '#') read(line);
    }
  }
  Examples take() { return std::move(examples_); }

 private:
  void read(std::string_view line) {
    const std::string_view first = word(line);
    if (first == "profile") {
      const std::string name(word(line));
      profile(name, line);
    } else if (first == "text") {
      const std::string name(word(line));
      texts_.emplace_back(fmt::format("@{}@", name), unescaped(line, place_));
    } else if (first == "unreachable") {
      for (const std::uint32_t rule : rules(word(line))) examples_.unreachable[rule] = line;
    } else if (first == "always") {
      for (const std::uint32_t rule : rules(word(line))) examples_.always.insert(rule);
    } else {
      example(rules(first), line);
    }
  }

  std::vector<std::uint32_t> rules(std::string_view list) const {
    std::vector<std::uint32_t> out;
    while (!list.empty()) {
      std::uint32_t rule = 0;
      const auto read = std::from_chars(list.data(), list.data() + list.size(), rule);
      if (read.ec != std::errc{}) wrong(place_, fmt::format("'{}' is no rule", list));
      out.push_back(rule);
      list.remove_prefix(static_cast<std::size_t>(read.ptr - list.data()));
      if (list.starts_with(',')) list.remove_prefix(1);
    }
    return out;
  }

  void profile(const std::string& name, std::string_view variables) {
    const auto number = static_cast<std::uint16_t>(ports_.size());
    ports_[name] = static_cast<std::uint16_t>(kFirstPort + number);
    std::string actions = ",setvar:'tx.paranoia_level=4'";  // a profile may say otherwise
    while (!variables.empty()) {
      const std::string variable = unescaped(word(variables), place_);
      actions += variable.starts_with('!') ? fmt::format(",setvar:'!tx.{}'", variable.substr(1))
                                           : fmt::format(",setvar:'tx.{}'", variable);
    }
    examples_.profile_rules +=
        fmt::format("SecRule REMOTE_PORT \"@eq {}\" \"id:{},phase:1,pass,nolog,t:none{}\"\n",
                    ports_[name], kFirstProfileRule + number, actions);
  }

  void example(std::vector<std::uint32_t> rules, std::string_view line) {
    Example example;
    example.place = place_;
    example.rules = std::move(rules);
    const std::string_view sign = word(line);
    if (sign != "+" && sign != "-") wrong(place_, "a + or - is missing");
    example.matches = sign == "+";
    example.request.kind = fmt::format("example/{}", place_);
    Composer composer(example, place_);
    while (!line.empty()) {
      const std::size_t end = std::min(line.find("  "), line.size());
      std::string_view edit = line.substr(0, end);
      line.remove_prefix(std::min(line.size(), end + 2));
      const std::string_view name = word(edit);
      const std::string value = expanded(unescaped(edit, place_));
      if (name == "with") {
        const auto port = ports_.find(value);
        if (port == ports_.end()) wrong(place_, fmt::format("there is no profile '{}'", value));
        example.request.client_port = port->second;
        example.has_profile = true;
      } else if (!composer.edit(name, value)) {
        wrong(place_, fmt::format("'{}' is no edit", name));
      }
    }
    composer.finish();
    examples_.all.push_back(std::move(example));
  }

  std::string expanded(std::string text) const {
    for (const auto& [name, value] : texts_)
      for (std::size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += value.size())
        text.replace(at, name.size(), value);
    return text;
  }

  Examples examples_;
  std::map<std::string, std::uint16_t> ports_;
  std::vector<std::pair<std::string, std::string>> texts_;
  std::string place_;
};

}  // namespace

std::uint16_t port_of_paranoia(int level) { return static_cast<std::uint16_t>(kFirstPort + level); }

Examples read_examples(const std::string& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  Reader reader;
  for (const auto& file : files) reader.file(file);
  return reader.take();
}

}  // namespace leeward::waf::compared
