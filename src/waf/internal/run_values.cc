// The values that rules look at: what their transformations make of them, each made once, and the
// scans that say which rules can match at all.
#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "waf/internal/byte_classes.h"
#include "waf/internal/runner.h"

namespace leeward::waf {
namespace {

// Above it, transformed texts are made anew for each rule instead of being kept.
constexpr std::size_t kRememberedMax = 128u << 20;

// Whether `transform` may change any text of the column.
bool may_change_any(Transform transform, const ValueList& list, const Column& column) {
  if (!column.complete) return true;
  // That none has any of the classes is quickly told from all together.
  if ((column.all_classes & changed_classes(transform)) == 0) return false;
  for (std::size_t i = 0; i < list.values.size(); ++i)
    if (may_change(transform, classes_of(list, column, i))) return true;
  return false;
}

bool equal(const ValueList& list, const Column& a, const Column& b) {
  return b.complete && a.all_classes == b.all_classes &&
         std::equal(a.texts, a.texts + list.values.size(), b.texts);
}

// The column that has the texts: what was made for one may have turned out to change nothing.
Column& owner(Column& column) {
  Column* found = &column;
  while (found->same != nullptr) found = found->same;
  return *found;
}

}  // namespace

bool Runner::remembers() const { return rooms_.arena.used() <= kRememberedMax; }

std::string_view Runner::transformed(const Source& source, std::uint16_t node) {
  if (node == 0) return source.text;
  if (source.list == nullptr) return rooms_.arena.copy(unremembered(source.text, node));
  Column& from = column(*source.list, node);
  if (from.texts == nullptr) return source.text;
  const std::string_view known = from.texts[source.position];
  if (known.data() != nullptr) return known;
  if (!remembers()) return unremembered(source.text, node);
  return remembered(*source.list, source.position, from);
}

Column& Runner::column(ValueList& list, std::uint16_t node) {
  if (list.columns == nullptr) {
    list.columns = rooms_.arena.zeroed<Column*>(program_.transforms.size());
    list.root = {};
    list.root.complete = true;
    list.root.all_classes = kAny;
    for (Value& value : list.values) {
      value.classes = classes_in(value.text);
      list.root.all_classes |= value.classes;
    }
    list.columns[0] = &list.root;
    list.made = nullptr;
  }
  if ((list.root.all_classes & program_.changed_classes[node]) == 0) return list.root;
  Column*& found = list.columns[node];
  if (found != nullptr) return owner(*found);
  const TransformTree::Node& step = program_.transforms[node];
  Column& base = column(list, step.parent);
  if (!may_change_any(step.step, list, base)) return *(found = &base);
  for (Column* other = list.made; other != nullptr; other = other->next)
    if (other->base == &base && other->step == step.step) return owner(*(found = other));
  found = rooms_.arena.zeroed<Column>(1);
  found->texts = rooms_.arena.zeroed<std::string_view>(list.values.size());
  found->base = &base;
  found->step = step.step;
  found->next = std::exchange(list.made, found);
  return *found;
}

// One text of a column that has texts.
std::string_view Runner::remembered(const ValueList& list, std::size_t position, Column& column) {
  std::string_view& text = column.texts[position];
  if (text.data() != nullptr) return text;
  Column& base = owner(*column.base);
  const Value& raw = list.values[position];
  const std::string_view before =
      base.texts == nullptr ? raw.text : remembered(list, position, base);
  if (before.data() == raw.text.data() && !may_change(column.step, raw.classes))
    return text = before;
  rooms_.scratch.assign(before);
  return text = apply(column.step, rooms_.scratch, program_.unicode_map.get())
                    ? rooms_.arena.copy(rooms_.scratch)
                    : before;
}

Column& Runner::complete(const ValueList& list, Column& column) {
  if (column.complete) return owner(column);
  const Column& base = complete(list, owner(*column.base));
  column.classes = rooms_.arena.zeroed<std::uint16_t>(list.values.size());
  column.all_classes = kAny;
  bool same = true;
  for (std::size_t i = 0; i < list.values.size(); ++i) {
    const std::string_view before = text_of(list, base, i);
    const std::uint16_t classes = classes_of(list, base, i);
    std::string_view& text = column.texts[i];
    text = text.data() == nullptr && !may_change(column.step, classes)
               ? before
               : remembered(list, i, column);
    const bool kept = text.data() == before.data() && text.size() == before.size();
    column.classes[i] = kept ? classes : classes_in(text);
    column.all_classes |= column.classes[i];
    same &= kept;
  }
  column.complete = true;
  if (same) {
    column.same = column.base;
  } else {
    // Other steps may have come to the same.
    for (Column* other = list.made; other != nullptr && column.same == nullptr; other = other->next)
      if (other != &column && other->same == nullptr && equal(list, column, *other))
        column.same = other;
  }
  return owner(column);
}

std::string_view Runner::unremembered(std::string_view text, std::uint16_t node) {
  std::array<std::uint16_t, 64> path;
  std::size_t length = 0;
  for (; node != 0 && length < path.size(); node = program_.transforms[node].parent)
    path[length++] = node;
  rooms_.unremembered.assign(text);
  while (length > 0)
    apply(program_.transforms[path[--length]].step, rooms_.unremembered,
          program_.unicode_map.get());
  return rooms_.unremembered;
}

bool Runner::may_match(const Step& step) {
  return program_.prefilter->may_match(rooms_.prefilter, step.candidate, step.group,
                                       [this](std::uint32_t number) { scan(number); });
}

void Runner::scan(std::uint32_t number) {
  const Prefilter::Scan& scan = program_.prefilter->scan(number);
  rooms_.text_columns.clear();
  rooms_.text_candidates.clear();
  if (add_unchanged_text(scan)) return look_at_text(number, 0);
  for (const Prefilter::Chain& chain : scan.chains)
    if (remembers())
      add_text(scan, chain);
    else
      look_apart(number, chain);
  const std::size_t texts = rooms_.text_columns.size() / scan.selections.size();
  for (std::size_t text = 0; text < texts; ++text) look_at_text(number, text);
}

// Whether no chain changes any value; then there is one text.
bool Runner::add_unchanged_text(const Prefilter::Scan& scan) {
  for (const Selection& selection : scan.selections) {
    ValueList& list = rooms_.lists[index(selection.variable)];
    if (list.values.empty()) {
      rooms_.text_columns.push_back(nullptr);
      continue;
    }
    const Column& as_they_came = column(list, 0);
    if ((as_they_came.all_classes & scan.changed_classes) != 0) {
      rooms_.text_columns.clear();
      return false;
    }
    rooms_.text_columns.push_back(&as_they_came);
  }
  rooms_.text_candidates.assign(scan.candidates.begin(), scan.candidates.end());
  return true;
}

// Puts the rules of `chain` to the text of the scan that has their values, as they are after its
// transformations. A text may have values of further variables.
void Runner::add_text(const Prefilter::Scan& scan, const Prefilter::Chain& chain) {
  const std::size_t width = scan.selections.size();
  std::vector<const Column*>& columns = rooms_.text_columns;
  const std::size_t texts = columns.size() / width;
  columns.resize((texts + 1) * width, nullptr);
  const std::span<const Column*> mine = std::span(columns).subspan(texts * width);
  bool any = false;
  for (const std::uint32_t i : chain.selections) {
    ValueList& list = rooms_.lists[index(scan.selections[i].variable)];
    if (list.values.empty()) continue;
    mine[i] = &complete(list, column(list, chain.node));
    any = true;
  }
  if (!any) return columns.resize(texts * width);
  for (std::size_t text = 0; text < texts; ++text) {
    const std::span<const Column*> there = std::span(columns).subspan(text * width, width);
    const auto fits = [](const Column* a, const Column* b) {
      return a == b || a == nullptr || b == nullptr;
    };
    if (!std::equal(mine.begin(), mine.end(), there.begin(), fits)) continue;
    for (std::size_t i = 0; i < width; ++i)
      if (there[i] == nullptr) there[i] = mine[i];
    std::uint64_t* const candidates =
        rooms_.text_candidates.data() + text * chain.candidates.size();
    for (std::size_t i = 0; i < chain.candidates.size(); ++i) candidates[i] |= chain.candidates[i];
    return columns.resize(texts * width);
  }
  rooms_.text_candidates.insert(rooms_.text_candidates.end(), chain.candidates.begin(),
                                chain.candidates.end());
}

void Runner::look_at_text(std::uint32_t number, std::size_t text) {
  const Prefilter::Scan& scan = program_.prefilter->scan(number);
  const std::size_t width = scan.selections.size();
  const std::span<const Column* const> columns =
      std::span(rooms_.text_columns).subspan(text * width, width);
  std::size_t size = 0;
  const auto each = [&](auto&& visit) {
    for (std::size_t i = 0; i < width; ++i) {
      if (columns[i] == nullptr) continue;
      const Selection& selection = scan.selections[i];
      const ValueList& list = rooms_.lists[index(selection.variable)];
      for (std::size_t at = 0; at < list.values.size(); ++at)
        if (selection.kind == Selection::Kind::kAll ||
            selection.takes(list.values[at].name, rooms_.regex))
          visit(text_of(list, *columns[i], at));
    }
  };
  each([&](std::string_view value) { size += value.size() + 1; });
  if (size == 0) return;
  if (rooms_.joined.size() < size) rooms_.joined.resize(size);
  char* end = rooms_.joined.data();
  each([&](std::string_view value) {
    end = std::copy(value.begin(), value.end(), end);
    *end++ = scan.separator;
  });
  program_.prefilter->look(
      rooms_.prefilter, number, {rooms_.joined.data(), size},
      std::span(rooms_.text_candidates)
          .subspan(text * scan.chains[0].candidates.size(), scan.chains[0].candidates.size()));
}

// When there is no memory for transformed texts: of one chain, made and forgotten.
void Runner::look_apart(std::uint32_t number, const Prefilter::Chain& chain) {
  const Prefilter::Scan& scan = program_.prefilter->scan(number);
  std::size_t size = 0;
  for (const std::uint32_t i : chain.selections) {
    const Selection& selection = scan.selections[i];
    ValueList& list = rooms_.lists[index(selection.variable)];
    for (std::size_t at = 0; at < list.values.size(); ++at) {
      const Value& value = list.values[at];
      if (selection.kind != Selection::Kind::kAll && !selection.takes(value.name, rooms_.regex))
        continue;
      const std::string_view text =
          transformed(Source{value.name, value.text, &list, at}, chain.node);
      if (rooms_.joined.size() < size + text.size() + 1)
        rooms_.joined.resize(2 * (size + text.size() + 1));
      std::copy(text.begin(), text.end(),
                rooms_.joined.begin() + static_cast<std::ptrdiff_t>(size));
      size += text.size();
      rooms_.joined[size++] = scan.separator;
    }
  }
  if (size > 0)
    program_.prefilter->look(rooms_.prefilter, number, {rooms_.joined.data(), size},
                             chain.candidates);
}

}  // namespace leeward::waf
