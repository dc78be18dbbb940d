#include "mysql/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "mysql/bytes.h"
#include "mysql/column_type.h"
#include "mysql/value.h"

namespace leeward::mysql {
namespace {

constexpr unsigned kDepthMax = 100;

enum class Tag : std::uint8_t {
  kSmallObject = 0,
  kLargeObject = 1,
  kSmallArray = 2,
  kLargeArray = 3,
  kLiteral = 4,
  kInt16 = 5,
  kUint16 = 6,
  kInt32 = 7,
  kUint32 = 8,
  kInt64 = 9,
  kUint64 = 10,
  kDouble = 11,
  kString = 12,
  kOpaque = 15,
};

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<std::uint8_t>(c) < 0x20)
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        else
          out += c;
    }
  }
  return out + '"';
}

// Seven bits a byte, the lowest first; the highest bit says that more follow.
std::uint64_t variable_length(Bytes& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 35; shift += 7) {
    std::uint64_t next = bytes.little(1);
    value |= (next & 0x7f) << shift;
    if (!(next & 0x80)) return value;
  }
  bytes.take(bytes.left() + 1);  // too long: nothing after it can be read
  return 0;
}

std::string real(std::uint64_t bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  char buffer[64];
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
  bool whole = text.find_first_not_of("-0123456789") == std::string::npos;
  return whole ? text + ".0" : text;
}

// Times in JSON: the number of SQL's packed form, 24 bits of it microseconds.
std::string time_text(std::int64_t packed, bool with_date) {
  std::uint64_t size =
      static_cast<std::uint64_t>(packed < 0 ? -(packed + 1) : packed) + (packed < 0 ? 1 : 0);
  std::uint64_t whole = size >> 24;
  std::uint64_t micros = size & 0xffffff;
  if (!with_date)
    return fmt::format("\"{}{:02}:{:02}:{:02}.{:06}\"", packed < 0 ? "-" : "", whole >> 12 & 0x3ff,
                       whole >> 6 & 63, whole & 63, micros);
  std::uint64_t days = whole >> 17;
  std::uint64_t months = days >> 5;
  return fmt::format("\"{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}\"", months / 13, months % 13,
                     days & 31, whole >> 12 & 31, whole >> 6 & 63, whole & 63, micros);
}

std::optional<std::string> opaque(std::uint8_t type, std::string_view bytes) {
  auto column = static_cast<ColumnType>(type);
  Bytes reader(bytes);
  if (column == ColumnType::kDecimal) {
    Column decimal;
    decimal.type = type;
    decimal.size = static_cast<std::uint16_t>(reader.big(2));
    std::string text;
    if (!reader.ok() || !decode_value(reader.rest(), decimal, text)) return std::nullopt;
    return text;
  }
  bool date = column == ColumnType::kDate;
  bool moment = column == ColumnType::kDatetime || column == ColumnType::kTimestamp;
  if (column == ColumnType::kTime || moment || date) {
    std::string text = time_text(static_cast<std::int64_t>(reader.little(8)), moment || date);
    if (!reader.ok() || reader.left() > 0) return std::nullopt;
    constexpr std::size_t kDateBytes = 11;  // with the opening quote
    return date ? text.substr(0, kDateBytes) + "\"" : text;
  }
  return quoted(fmt::format("base64:type{}:{}", type, base64(bytes)));
}

// Values may share bytes in a made-up document; the budget keeps the result in proportion.
class Parser {
 public:
  explicit Parser(std::size_t size) : budget_(size * 2 + 64) {}

  bool value(Tag tag, std::string_view bytes, unsigned depth, JsonValue& out) {
    if (depth > kDepthMax || !spend(1)) return false;
    Bytes reader(bytes);
    switch (tag) {
      case Tag::kSmallObject:
      case Tag::kLargeObject:
        return container(bytes, tag == Tag::kLargeObject, true, depth, out);
      case Tag::kSmallArray:
      case Tag::kLargeArray:
        return container(bytes, tag == Tag::kLargeArray, false, depth, out);
      case Tag::kLiteral: {
        std::uint64_t literal = reader.little(1);
        if (literal > 2) return false;
        out.text = literal == 0 ? "null" : literal == 1 ? "true" : "false";
        break;
      }
      case Tag::kInt16:
        out.text = std::to_string(static_cast<std::int16_t>(reader.little(2)));
        break;
      case Tag::kUint16:
        out.text = std::to_string(reader.little(2));
        break;
      case Tag::kInt32:
        out.text = std::to_string(static_cast<std::int32_t>(reader.little(4)));
        break;
      case Tag::kUint32:
        out.text = std::to_string(reader.little(4));
        break;
      case Tag::kInt64:
        out.text = std::to_string(static_cast<std::int64_t>(reader.little(8)));
        break;
      case Tag::kUint64:
        out.text = std::to_string(reader.little(8));
        break;
      case Tag::kDouble:
        out.text = real(reader.little(8));
        break;
      case Tag::kString: {
        std::string_view text = reader.take(variable_length(reader));
        if (!reader.ok() || !spend(text.size())) return false;
        out.text = quoted(text);
        break;
      }
      case Tag::kOpaque: {
        auto type = static_cast<std::uint8_t>(reader.little(1));
        std::string_view raw = reader.take(variable_length(reader));
        if (!reader.ok() || !spend(raw.size())) return false;
        auto text = opaque(type, raw);
        if (!text) return false;
        out.text = std::move(*text);
        break;
      }
      default:
        return false;
    }
    return reader.ok();
  }

 private:
  bool spend(std::size_t amount) {
    if (amount > budget_) return false;
    budget_ -= amount;
    return true;
  }

  // Count and size, then an entry a key (offset, length), then one a value (type, and the offset or
  // the value itself where it fits). Offsets count from the start of the container.
  bool container(std::string_view bytes, bool large, bool object, unsigned depth, JsonValue& out) {
    std::size_t width = large ? 4 : 2;
    Bytes reader(bytes);
    std::uint64_t count = reader.little(width);
    std::uint64_t size = reader.little(width);
    if (!reader.ok() || size > bytes.size() || count > size / (1 + width)) return false;
    bytes = bytes.substr(0, size);
    out.kind = object ? JsonValue::Kind::kObject : JsonValue::Kind::kArray;
    if (object) {
      for (std::uint64_t i = 0; i < count; ++i) {
        std::uint64_t offset = reader.little(width);
        std::uint64_t length = reader.little(2);
        if (!reader.ok() || offset > bytes.size() || length > bytes.size() - offset ||
            !spend(length))
          return false;
        out.names.emplace_back(bytes.substr(offset, length));
      }
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      auto tag = static_cast<Tag>(reader.little(1));
      std::string_view inlined = reader.take(width);
      if (!reader.ok()) return false;
      bool fits = tag == Tag::kLiteral || tag == Tag::kInt16 || tag == Tag::kUint16 ||
                  (large && (tag == Tag::kInt32 || tag == Tag::kUint32));
      std::string_view where = inlined;
      if (!fits) {
        std::uint64_t offset = Bytes(inlined).little(width);
        if (offset > bytes.size()) return false;
        where = bytes.substr(offset);
      }
      if (!value(tag, where, depth + 1, out.items.emplace_back())) return false;
    }
    return true;
  }

  std::size_t budget_;
};

void print(const JsonValue& value, std::string& out) {
  if (value.kind == JsonValue::Kind::kScalar) {
    out += value.text;
    return;
  }
  bool object = value.kind == JsonValue::Kind::kObject;
  out += object ? '{' : '[';
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    if (i > 0) out += ", ";
    if (object) out += quoted(value.names[i]) + ": ";
    print(value.items[i], out);
  }
  out += object ? '}' : ']';
}

struct Leg {
  std::optional<std::string> name;  // of an object's member; else `index` of an array's item
  std::size_t index = 0;
};

// "…" with JSON's escapes; the opening quote has been taken.
bool take_quoted(std::string_view& path, std::string& name) {
  while (!path.empty()) {
    char c = path.front();
    path.remove_prefix(1);
    if (c == '"') return true;
    if (c == '\\') {
      if (path.empty()) return false;
      constexpr std::string_view kCodes = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
      std::size_t code = kCodes.find(path.front());
      if (code == std::string_view::npos) return false;
      c = kMeanings[code];
      path.remove_prefix(1);
    }
    name += c;
  }
  return false;
}

// $, then .name, ."quoted name" or [index], each.
std::optional<std::vector<Leg>> parse_path(std::string_view path) {
  if (!path.starts_with('$')) return std::nullopt;
  path.remove_prefix(1);
  std::vector<Leg> legs;
  while (!path.empty()) {
    if (legs.size() > kDepthMax) return std::nullopt;
    Leg& leg = legs.emplace_back();
    char c = path.front();
    path.remove_prefix(1);
    if (c == '[') {
      auto [end, error] = std::from_chars(path.data(), path.data() + path.size(), leg.index);
      path.remove_prefix(static_cast<std::size_t>(end - path.data()));
      if (error != std::errc{} || !path.starts_with(']')) return std::nullopt;
      path.remove_prefix(1);
    } else if (c == '.') {
      leg.name.emplace();
      if (path.starts_with('"')) {
        path.remove_prefix(1);
        if (!take_quoted(path, *leg.name)) return std::nullopt;
      } else {
        std::size_t end = std::min(path.find_first_of(".["), path.size());
        leg.name = std::string(path.substr(0, end));
        path.remove_prefix(end);
      }
    } else {
      return std::nullopt;
    }
  }
  return legs;
}

// Index of the leg's place among the items of `value`; its size when there is none.
std::size_t find(const JsonValue& value, const Leg& leg) {
  if (leg.name) {
    if (value.kind != JsonValue::Kind::kObject) return value.items.size();
    auto found = std::find(value.names.begin(), value.names.end(), *leg.name);
    return static_cast<std::size_t>(found - value.names.begin());
  }
  return value.kind == JsonValue::Kind::kArray ? std::min(leg.index, value.items.size())
                                               : value.items.size();
}

bool insert(JsonValue& parent, const Leg& leg, JsonValue value) {
  if (leg.name.has_value() != (parent.kind == JsonValue::Kind::kObject) ||
      parent.kind == JsonValue::Kind::kScalar)
    return false;
  std::size_t at = leg.index;
  if (leg.name) {
    // MySQL's order: shorter names first, then by bytes.
    auto place = std::find_if(parent.names.begin(), parent.names.end(), [&](const auto& name) {
      return name.size() != leg.name->size() ? name.size() > leg.name->size() : name > *leg.name;
    });
    at = static_cast<std::size_t>(place - parent.names.begin());
    parent.names.insert(place, *leg.name);
  }
  at = std::min(at, parent.items.size());
  parent.items.insert(parent.items.begin() + static_cast<std::ptrdiff_t>(at), std::move(value));
  return true;
}

bool apply_one(JsonValue& document, std::uint64_t operation, const std::vector<Leg>& legs,
               JsonValue value) {
  constexpr std::uint64_t kReplace = 0, kInsert = 1, kRemove = 2;
  if (legs.empty()) {
    if (operation == kReplace) document = std::move(value);
    return operation == kReplace;
  }
  JsonValue* parent = &document;
  for (std::size_t i = 0; i + 1 < legs.size(); ++i) {
    std::size_t at = find(*parent, legs[i]);
    if (at == parent->items.size()) return false;
    parent = &parent->items[at];
  }
  std::size_t at = find(*parent, legs.back());
  if (operation == kInsert) {
    if (legs.back().name && at < parent->items.size()) return false;
    return insert(*parent, legs.back(), std::move(value));
  }
  if (at == parent->items.size()) return false;
  if (operation == kReplace) {
    parent->items[at] = std::move(value);
    return true;
  }
  if (operation != kRemove) return false;
  parent->items.erase(parent->items.begin() + static_cast<std::ptrdiff_t>(at));
  if (legs.back().name)
    parent->names.erase(parent->names.begin() + static_cast<std::ptrdiff_t>(at));
  return true;
}

}  // namespace

std::optional<JsonValue> parse_mysql_json(std::string_view bytes) {
  JsonValue value;
  if (bytes.empty()) {
    value.text = "null";
    return value;
  }
  Parser parser(bytes.size());
  if (!parser.value(static_cast<Tag>(bytes[0]), bytes.substr(1), 0, value)) return std::nullopt;
  return value;
}

std::string to_string(const JsonValue& value) {
  std::string text;
  print(value, text);
  return text;
}

bool apply_json_differences(JsonValue& document, std::string_view differences) {
  constexpr std::uint64_t kRemove = 2;
  Bytes bytes(differences);
  while (bytes.left() > 0) {
    std::uint64_t operation = bytes.little(1);
    auto legs = parse_path(bytes.take(bytes.packed()));
    if (!bytes.ok() || !legs) return false;
    JsonValue value;
    if (operation != kRemove) {
      auto parsed = parse_mysql_json(bytes.take(bytes.packed()));
      if (!bytes.ok() || !parsed) return false;
      value = std::move(*parsed);
    }
    if (!apply_one(document, operation, *legs, std::move(value))) return false;
  }
  return bytes.ok();
}

}  // namespace leeward::mysql
