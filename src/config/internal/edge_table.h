// The settings of the `edge` section.
#pragma once

#include "config/setting.h"
#include "model/edge.h"

namespace leeward::config {

Table<EdgeSpec> edge_table();
Table<EdgeCache> edge_cache_table();
Table<EdgeCachePolicy> edge_cache_policy_table();
Table<EdgeFirewall> edge_firewall_table();

inline constexpr std::size_t kItemsMax = 1000;

// A list of sections, each read into a new item of get(T&).
template <typename T, typename U>
void add_list(Table<T>& t, std::string name, std::vector<U> T::*list, Table<U> table,
              std::string sentence) {
  Setting s = Table<T>::setting(Setting::Kind::kSections, name, std::move(sentence));
  s.settings = table.settings();
  t.add(s, [list, table](Reader& r, const Place& p, T& target) {
    auto items = r.sequence(p);
    if (!items) return;
    if (items->size() > kItemsMax) {
      r.problem(p.key, p.path,
                fmt::format("{} items are too many; {} at most", items->size(), kItemsMax));
      return;
    }
    for (const Place& item : *items) table.read(r, item, (target.*list).emplace_back());
  });
}

// A mapping from names to sections; each is read into a new item of the list, which has a `name`.
// `what` is what such a name is of: "a group".
template <typename T, typename U>
Table<T>& add_named(Table<T>& t, std::string name, std::vector<U> T::*list, Table<U> table,
                    std::string what, std::string sentence) {
  Setting s = Table<T>::setting(Setting::Kind::kNamed, std::move(name), std::move(sentence));
  s.key = "NAME";
  s.settings = table.settings();
  return t.add(s, [list, table, what](Reader& r, const Place& p, T& target) {
    auto entries = r.mapping(p);
    if (!entries) return;
    for (const Place& entry : *entries) {
      if (!kNameRule.valid(entry.name)) {
        r.problem(entry.key, entry.path,
                  fmt::format("{} cannot be the name of {}; {}", quoted(entry.name), what,
                              kNameRule.advice));
        continue;
      }
      U& item = (target.*list).emplace_back();
      item.name = entry.name;
      table.read(r, entry, item);
    }
  });
}

}  // namespace leeward::config
