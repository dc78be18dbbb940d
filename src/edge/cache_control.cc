#include "edge/cache_control.h"

#include "edge/internal/cache_structured.h"
#include "edge/internal/cache_text.h"

namespace leeward::edge {
namespace {

// One directive of a Cache-Control field.
struct Directive {
  std::string_view name;
  std::string_view argument;  // without its quotes; escapes are left in
  bool has_argument = false;
  bool malformed = false;  // white space around "=", text after a quoted string, a bad name
};

Directive split_directive(std::string_view member) {
  Directive d;
  std::size_t equals = member.find('=');
  std::string_view name = member.substr(0, equals);
  d.name = trim(name);
  d.malformed = d.name.size() != name.size();
  for (char c : d.name) d.malformed |= !is_token_char(c);
  if (equals == std::string_view::npos) return d;
  d.has_argument = true;
  std::string_view argument = member.substr(equals + 1);
  d.argument = trim(argument);
  d.malformed |= d.argument.size() != argument.size();
  if (d.argument.size() >= 2 && d.argument.front() == '"' && d.argument.back() == '"') {
    d.argument = d.argument.substr(1, d.argument.size() - 2);
    d.malformed |= d.argument.find('"') != std::string_view::npos;
  } else {
    for (char c : d.argument) d.malformed |= !is_token_char(c);
  }
  return d;
}

void set_lifetime(std::optional<Seconds>& slot, const Directive& d) {
  Seconds value{0};
  if (d.has_argument && !d.malformed) {
    if (auto n = parse_digits(d.argument, static_cast<std::uint64_t>(kDeltaMax.count()))) {
      value = Seconds(static_cast<std::int64_t>(*n));
    }
  }
  if (slot && *slot != value) value = Seconds{0};
  slot = value;
}

void add_names(std::vector<std::string>& out, std::string_view list) {
  while (auto name = next_member(list)) {
    if (name->empty()) continue;
    std::string lowered;
    for (char c : *name) lowered += lower(c);
    out.push_back(std::move(lowered));
  }
}

void apply(ResponseDirectives& r, const Directive& d) {
  auto is = [&](std::string_view name) { return same_name(d.name, name); };
  if (is("no-store")) {
    r.no_store = true;
  } else if (is("no-cache") || is("private")) {
    if (d.has_argument && !d.malformed && !d.argument.empty()) {
      add_names(r.withheld, d.argument);
    } else {
      (is("private") ? r.is_private : r.no_cache) = true;
    }
  } else if (is("public")) {
    r.is_public = true;
  } else if (is("must-revalidate")) {
    r.must_revalidate = true;
  } else if (is("proxy-revalidate")) {
    r.proxy_revalidate = true;
  } else if (is("must-understand")) {
    r.must_understand = true;
  } else if (is("no-transform")) {
    r.no_transform = true;
  } else if (is("max-age")) {
    set_lifetime(r.max_age, d);
  } else if (is("s-maxage")) {
    set_lifetime(r.s_maxage, d);
  } else if (is("stale-while-revalidate")) {
    set_lifetime(r.stale_while_revalidate, d);
  } else if (is("stale-if-error")) {
    set_lifetime(r.stale_if_error, d);
  }
}

// All lines of one field, joined. Null data without a line; `storage` is used for several lines.
std::string_view joined(Fields fields, std::string_view name, std::string& storage) {
  std::string_view first;
  bool several = false;
  for (const Field& f : fields) {
    if (!same_name(f.name, name)) continue;
    if (first.data() == nullptr) {
      first = f.value.data() == nullptr ? std::string_view("") : f.value;
      continue;
    }
    if (!several) storage = first;
    several = true;
    storage += ", ";
    storage += f.value;
  }
  return several ? std::string_view(storage) : first;
}

template <typename Apply>
bool for_each_directive(Fields fields, std::string_view field_name, Apply apply_one) {
  bool unterminated = false;
  for (const Field& f : fields) {
    if (!same_name(f.name, field_name)) continue;
    std::string_view rest = f.value;
    while (auto member = next_member(rest, &unterminated)) {
      if (!member->empty()) apply_one(split_directive(*member));
    }
  }
  return !unterminated;
}

bool set_flag(bool& flag, const SfMember& m) {
  const bool* value = m.inner_list ? nullptr : std::get_if<bool>(&m.item.value);
  if (value == nullptr) return false;
  flag = *value;
  return true;
}

bool set_seconds(std::optional<Seconds>& slot, const SfMember& m) {
  const std::int64_t* value = m.inner_list ? nullptr : std::get_if<std::int64_t>(&m.item.value);
  if (value == nullptr) return false;
  slot = Seconds(*value < 0 ? 0 : *value > kDeltaMax.count() ? kDeltaMax.count() : *value);
  return true;
}

// no-cache and private: true, or the names of fields as a string.
bool set_qualified(bool& flag, std::vector<std::string>& withheld, const SfMember& m) {
  if (!m.inner_list) {
    if (const auto* names = std::get_if<std::string>(&m.item.value)) {
      add_names(withheld, *names);
      return true;
    }
  }
  return set_flag(flag, m);
}

// RFC 9213 §2.2; false: the field is not to be used.
bool apply_targeted(ResponseDirectives& r, const SfDictionary& dictionary) {
  for (const SfMember& m : dictionary) {
    bool ok = true;
    if (m.key == "no-store") ok = set_flag(r.no_store, m);
    if (m.key == "no-cache") ok = set_qualified(r.no_cache, r.withheld, m);
    if (m.key == "private") ok = set_qualified(r.is_private, r.withheld, m);
    if (m.key == "public") ok = set_flag(r.is_public, m);
    if (m.key == "must-revalidate") ok = set_flag(r.must_revalidate, m);
    if (m.key == "proxy-revalidate") ok = set_flag(r.proxy_revalidate, m);
    if (m.key == "must-understand") ok = set_flag(r.must_understand, m);
    if (m.key == "no-transform") ok = set_flag(r.no_transform, m);
    if (m.key == "max-age") ok = set_seconds(r.max_age, m);
    if (m.key == "s-maxage") ok = set_seconds(r.s_maxage, m);
    if (m.key == "stale-while-revalidate") ok = set_seconds(r.stale_while_revalidate, m);
    if (m.key == "stale-if-error") ok = set_seconds(r.stale_if_error, m);
    if (!ok) return false;
  }
  return true;
}

}  // namespace

ResponseDirectives response_directives(Fields fields) {
  std::string storage;
  std::string_view targeted = joined(fields, "cdn-cache-control", storage);
  if (!targeted.empty()) {
    if (auto dictionary = parse_dictionary(targeted); dictionary && !dictionary->empty()) {
      ResponseDirectives r;
      r.targeted = true;
      if (apply_targeted(r, *dictionary)) return r;
    }
  }
  ResponseDirectives r;
  if (!for_each_directive(fields, "cache-control", [&](const Directive& d) { apply(r, d); })) {
    r.no_store = true;
  }
  return r;
}

RequestDirectives request_directives(Fields fields) {
  RequestDirectives r;
  bool has_cache_control = false;
  for_each_directive(fields, "cache-control", [&](const Directive& d) {
    has_cache_control = true;
    auto is = [&](std::string_view name) { return same_name(d.name, name); };
    if (is("no-store")) r.no_store = true;
    if (is("no-cache")) r.no_cache = true;
    if (is("only-if-cached")) r.only_if_cached = true;
    if (is("max-age")) set_lifetime(r.max_age, d);
    if (is("min-fresh")) set_lifetime(r.min_fresh, d);
    if (is("stale-if-error")) set_lifetime(r.stale_if_error, d);
    if (is("max-stale")) {
      if (d.has_argument) {
        set_lifetime(r.max_stale, d);
      } else {
        r.max_stale = kDeltaMax;
      }
    }
  });
  if (!has_cache_control) {
    for_each_directive(fields, "pragma", [&](const Directive& d) {
      if (same_name(d.name, "no-cache")) r.no_cache = true;
    });
  }
  return r;
}

}  // namespace leeward::edge
