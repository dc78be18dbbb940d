// Names and values that a request brings: arguments, cookies, files. In the order of the request,
// doubles kept (HTTP parameter pollution is for rules to see). All text lies in one buffer, so that
// a request with a hundred arguments costs a handful of allocations, and none once the list has
// been used before and cleared.
//
// Ownership: the views that it hands out are valid until the next add() or clear().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace leeward::waf {

struct Field {
  std::string_view name;
  std::string_view value;

  bool operator==(const Field&) const = default;
};

class FieldList {
 public:
  void add(std::string_view name, std::string_view value) {
    entries_.push_back({text_.size(), name.size(), value.size()});
    text_.append(name).append(value);
  }
  void clear() {
    entries_.clear();
    text_.clear();
  }
  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  // Bytes of all names and values: ARGS_COMBINED_SIZE.
  std::size_t bytes() const { return text_.size(); }
  Field operator[](std::size_t index) const {
    const Entry& entry = entries_[index];
    const std::string_view text = text_;
    return {text.substr(entry.at, entry.name), text.substr(entry.at + entry.name, entry.value)};
  }

  bool operator==(const FieldList& other) const {
    if (size() != other.size()) return false;
    for (std::size_t i = 0; i < size(); ++i)
      if ((*this)[i] != other[i]) return false;
    return true;
  }

  class Iterator {
   public:
    Iterator(const FieldList& list, std::size_t index) : list_(&list), index_(index) {}
    Field operator*() const { return (*list_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

   private:
    const FieldList* list_;
    std::size_t index_;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

 private:
  struct Entry {
    std::size_t at;
    std::size_t name;
    std::size_t value;
  };
  std::string text_;
  std::vector<Entry> entries_;
};

}  // namespace leeward::waf
