// The declaration of settings. A Table<T> lists the settings of one section of leeward.yaml and how
// each is stored in a T; its description alone (Setting) is what schema and reference are made of.
// A default is not repeated here: it is read from a default-constructed T. Files of other rooms (a
// replication task) are declared with the same tables and read by the same Reader.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/reader.h"

namespace leeward::config {

struct Setting {
  enum class Kind {
    kText,     // `rule`
    kInteger,  // `minimum` … `maximum`
    kNumber,   // with a fraction
    kBoolean,
    kDuration,
    kPercent,
    kChoice,       // one of `choices`
    kTexts,        // list of texts following `rule`
    kRawTexts,     // list of any scalars
    kEnvironment,  // name of a variable to any scalar
    kTextMap,      // `key` to any scalar
    kSiteMap,      // site name to text following `rule`
    kSection,      // `settings`
    kSections,     // list of `settings`
    kNamed,        // name to `settings`; the reference writes `key` for the name
  };
  Kind kind = Kind::kText;
  std::string name;
  std::string sentence;
  bool required = false;
  std::string default_text;  // as written in YAML; empty: none
  std::string bounds;        // for people
  const TextRule* rule = nullptr;
  std::int64_t minimum = 0;
  std::int64_t maximum = 0;
  double least = 0;  // of a number
  double most = 0;
  std::vector<std::string> choices;
  std::string key;
  std::vector<Setting> settings;
};

inline std::string range(Bounds<Duration> bounds) {
  return fmt::format("{} … {}", format_duration(bounds.min), format_duration(bounds.max));
}

template <typename T>
class Table {
 public:
  using Read = std::function<void(Reader&, const Place&, T&)>;

  // `get` of the methods below is a pointer to member of T or a function from T& to the value.

  template <typename Get>
  Table& text(std::string name, Get get, const TextRule& rule, std::string sentence) {
    Setting s = setting(Setting::Kind::kText, name, sentence);
    s.rule = &rule;
    s.default_text = initial(get);
    return add(s, [get, &rule](Reader& r, const Place& p, T& t) {
      if (auto v = r.text(p, rule)) std::invoke(get, t) = *v;
    });
  }

  template <typename Get>
  Table& endpoint(std::string name, Get get, const TextRule& rule, std::string sentence) {
    Setting s = setting(Setting::Kind::kText, name, sentence);
    s.rule = &rule;
    T blank{};
    if (const Endpoint& e = std::invoke(get, blank); e.port != 0) s.default_text = to_string(e);
    return add(s, [get, &rule](Reader& r, const Place& p, T& t) {
      auto v = r.text(p, rule);
      if (!v) return;
      if (auto endpoint = parse_endpoint(*v)) std::invoke(get, t) = *endpoint;
    });
  }

  template <typename Get>
  Table& secret(std::string name, Get get, std::string sentence) {
    Setting s = setting(Setting::Kind::kText, name, sentence);
    s.rule = &kSecretRule;
    return add(s, [get](Reader& r, const Place& p, T& t) {
      auto v = r.text(p, kSecretRule);
      if (!v) return;
      bool file = v->starts_with("file:");
      std::invoke(get, t) =
          SecretRef{file ? SecretRef::Kind::kFile : SecretRef::Kind::kEnv, v->substr(file ? 5 : 4)};
    });
  }

  template <typename Get>
  Table& integer(std::string name, Get get, Bounds<std::int64_t> bounds, std::string sentence) {
    Setting s = setting(Setting::Kind::kInteger, name, sentence);
    s.minimum = bounds.min;
    s.maximum = bounds.max;
    s.bounds = fmt::format("{} … {}", bounds.min, bounds.max);
    T blank{};
    if (auto v = std::invoke(get, blank); v != 0) s.default_text = fmt::format("{}", v);
    return add(s, [get, bounds](Reader& r, const Place& p, T& t) {
      auto& target = std::invoke(get, t);
      if (auto v = r.integer(p, bounds))
        target = static_cast<std::remove_reference_t<decltype(target)>>(*v);
    });
  }

  template <typename Get>
  Table& number(std::string name, Get get, Bounds<double> bounds, std::string sentence) {
    Setting s = setting(Setting::Kind::kNumber, name, sentence);
    s.least = bounds.min;
    s.most = bounds.max;
    s.bounds = fmt::format("{} … {}", bounds.min, bounds.max);
    T blank{};
    if (auto v = std::invoke(get, blank); v != 0) s.default_text = fmt::format("{}", v);
    return add(s, [get, bounds](Reader& r, const Place& p, T& t) {
      if (auto v = r.number(p, bounds)) std::invoke(get, t) = *v;
    });
  }

  template <typename Get>
  Table& port(std::string name, Get get, std::string sentence) {
    return integer(std::move(name), get, {1, 65535}, std::move(sentence));
  }

  template <typename Get>
  Table& boolean(std::string name, Get get, std::string sentence) {
    Setting s = setting(Setting::Kind::kBoolean, name, sentence);
    T blank{};
    s.default_text = std::invoke(get, blank) ? "true" : "false";
    return add(s, [get](Reader& r, const Place& p, T& t) {
      if (auto v = r.boolean(p)) std::invoke(get, t) = *v;
    });
  }

  template <typename Get>
  Table& duration(std::string name, Get get, Bounds<Duration> bounds, std::string sentence) {
    Setting s = setting(Setting::Kind::kDuration, name, sentence);
    s.bounds = range(bounds);
    T blank{};
    if (Duration d = std::invoke(get, blank); d.count() != 0) s.default_text = format_duration(d);
    return add(s, [get, bounds](Reader& r, const Place& p, T& t) {
      if (auto v = r.duration(p, bounds)) std::invoke(get, t) = *v;
    });
  }

  template <typename Get>
  Table& percent(std::string name, Get get, Bounds<double> bounds, std::string sentence) {
    Setting s = setting(Setting::Kind::kPercent, name, sentence);
    s.bounds = fmt::format("{}% … {}%", bounds.min * 100, bounds.max * 100);
    T blank{};
    s.default_text = fmt::format("{}%", std::invoke(get, blank) * 100);
    return add(s, [get, bounds](Reader& r, const Place& p, T& t) {
      if (auto v = r.percent(p, bounds)) std::invoke(get, t) = *v;
    });
  }

  template <typename Get, typename E>
  Table& choice(std::string name, Get get, std::vector<std::pair<std::string, E>> values,
                std::string sentence) {
    Setting s = setting(Setting::Kind::kChoice, name, sentence);
    T blank{};
    for (const auto& [label, value] : values) {
      s.choices.push_back(label);
      if (value == std::invoke(get, blank)) s.default_text = label;
    }
    return add(s, [get, values, choices = s.choices](Reader& r, const Place& p, T& t) {
      if (auto index = r.choice(p, choices)) std::invoke(get, t) = values[*index].second;
    });
  }

  template <typename Get>
  Table& site(std::string name, Get get, std::string sentence) {
    Setting s = setting(Setting::Kind::kText, name, sentence);
    s.rule = &kNameRule;
    return add(s, [get](Reader& r, const Place& p, T& t) {
      if (auto v = r.site(p)) std::invoke(get, t) = *v;
    });
  }

  template <typename Get>
  Table& texts(std::string name, Get get, const TextRule& rule, std::string sentence) {
    Setting s = setting(Setting::Kind::kTexts, name, sentence);
    s.rule = &rule;
    return add(s, [get, &rule](Reader& r, const Place& p, T& t) {
      auto items = r.sequence(p);
      if (!items) return;
      for (const Place& item : *items)
        if (auto v = r.text(item, rule)) std::invoke(get, t).push_back(*v);
    });
  }

  template <typename Get>
  Table& raw_texts(std::string name, Get get, std::string sentence) {
    return add(setting(Setting::Kind::kRawTexts, name, sentence),
               [get](Reader& r, const Place& p, T& t) {
                 auto items = r.sequence(p);
                 if (!items) return;
                 for (const Place& item : *items)
                   if (auto v = r.raw_text(item)) std::invoke(get, t).push_back(*v);
               });
  }

  template <typename Get>
  Table& environment(std::string name, Get get, std::string sentence) {
    return add(setting(Setting::Kind::kEnvironment, name, sentence),
               [get](Reader& r, const Place& p, T& t) {
                 auto entries = r.mapping(p);
                 if (!entries) return;
                 for (const Place& entry : *entries)
                   if (auto v = r.environment_value(entry)) std::invoke(get, t)[entry.name] = *v;
               });
  }

  // A section whose settings are stored in get(T&).
  template <typename Get, typename U>
  Table& section(std::string name, Get get, Table<U> table, std::string sentence) {
    Setting s = setting(Setting::Kind::kSection, name, sentence);
    s.settings = table.settings();
    return add(s, [get, table](Reader& r, const Place& p, T& t) {
      table.read(r, p, std::invoke(get, t));
    });
  }

  // Anything else: `read` stores the value.
  Table& add(Setting about, Read read) {
    fields_.push_back(Field{std::move(about), std::move(read)});
    return *this;
  }

  // Of the setting added last.
  Table& required() {
    fields_.back().about.required = true;
    fields_.back().about.default_text.clear();
    return *this;
  }
  Table& default_text(std::string text) {
    fields_.back().about.default_text = std::move(text);
    return *this;
  }

  // Reads the section at `place`: settings in the order of the table, not of the file, so that a
  // setting can refer to what an earlier one has defined (site names).
  void read(Reader& r, const Place& place, T& t) const {
    std::vector<std::string> known;
    for (const Field& f : fields_) known.push_back(f.about.name);
    auto entries = r.section(place, known);
    if (!entries) return;
    for (const Field& f : fields_) {
      auto found = entries->find(f.about.name);
      if (found != entries->end())
        f.read(r, found->second, t);
      else if (f.about.required)
        r.missing(place, f.about.name, f.about.sentence);
    }
  }

  std::vector<Setting> settings() const {
    std::vector<Setting> all;
    for (const Field& f : fields_) all.push_back(f.about);
    return all;
  }

  static Setting setting(Setting::Kind kind, std::string name, std::string sentence) {
    Setting s;
    s.kind = kind;
    s.name = std::move(name);
    s.sentence = std::move(sentence);
    return s;
  }

 private:
  struct Field {
    Setting about;
    Read read;
  };

  template <typename Get>
  static std::string initial(Get get) {
    T blank{};
    return std::invoke(get, blank);
  }

  std::vector<Field> fields_;
};

// The settings as tables in Markdown, section by section, as docs/guide/configuration.md has them.
std::string settings_reference(const std::vector<Setting>& settings);

inline constexpr char kDefaultStateDir[] = "state";

// The whole file.
const Table<Platform>& platform_table();

}  // namespace leeward::config
