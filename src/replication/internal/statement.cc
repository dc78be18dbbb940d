#include "replication/internal/statement.h"

#include <algorithm>
#include <cctype>

#include "mysql/bytes.h"
#include "mysql/value.h"

namespace leeward::replication::internal {
namespace {

using mysql::Bytes;

// Status variables stand one after another without lengths, so the first unknown one ends the
// reading. Those that matter are written before the ones that later versions added.
void read_status(Bytes vars, LoggedQuery& query) {
  while (vars.left() > 0 && vars.ok()) {
    switch (vars.little(1)) {
      case 0:
        query.option_bits = static_cast<std::uint32_t>(vars.little(4));
        break;
      case 1:
        query.sql_mode = vars.little(8);
        break;
      case 3:  // auto_increment_increment, _offset
        vars.take(4);
        break;
      case 4:
        query.client_charset = static_cast<std::uint16_t>(vars.little(2));
        query.connection_collation = static_cast<std::uint16_t>(vars.little(2));
        query.server_collation = static_cast<std::uint16_t>(vars.little(2));
        break;
      case 5:
        query.time_zone = std::string(vars.take(vars.little(1)));
        break;
      case 6:  // catalog
        vars.take(vars.little(1));
        break;
      default:
        return;
    }
  }
}

struct Token {
  enum class Kind : std::uint8_t { kEnd, kWord, kName, kText, kSign } kind = Kind::kEnd;
  std::string text;  // words in capitals, names as they are
  std::string raw;   // words as they are
};

// Words, quoted names, texts and single signs; comments are passed over, but what stands in an
// executable comment /*!…*/ is read.
class Tokens {
 public:
  explicit Tokens(std::string_view sql) : rest_(sql) { advance(); }

  const Token& now() const { return token_; }
  bool is(std::string_view word) const {
    return token_.kind == Token::Kind::kWord && token_.text == word;
  }
  bool sign(char c) const { return token_.kind == Token::Kind::kSign && token_.text[0] == c; }
  bool skip(std::string_view word) {
    if (!is(word)) return false;
    advance();
    return true;
  }
  void advance();

 private:
  void pass_blanks();
  std::string_view rest_;
  Token token_;
};

void Tokens::pass_blanks() {
  for (;;) {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_[0])))
      rest_.remove_prefix(1);
    if (rest_.starts_with("/*!") || rest_.starts_with("/*M!")) {
      rest_.remove_prefix(rest_[2] == '!' ? 3 : 4);
      while (!rest_.empty() && std::isdigit(static_cast<unsigned char>(rest_[0])))
        rest_.remove_prefix(1);
    } else if (rest_.starts_with("/*")) {
      std::size_t end = rest_.find("*/", 2);
      rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 2);
    } else if (rest_.starts_with("*/")) {
      rest_.remove_prefix(2);
    } else if (rest_.starts_with("#") || rest_.starts_with("-- ")) {
      rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
    } else {
      return;
    }
  }
}

void Tokens::advance() {
  pass_blanks();
  token_ = {};
  if (rest_.empty()) return;
  char first = rest_[0];
  if (first == '`' || first == '"' || first == '\'') {
    token_.kind = first == '\'' ? Token::Kind::kText : Token::Kind::kName;
    rest_.remove_prefix(1);
    while (!rest_.empty()) {
      char c = rest_[0];
      rest_.remove_prefix(1);
      if (c == '\\' && first != '`' && !rest_.empty()) {
        token_.text += rest_[0];
        rest_.remove_prefix(1);
        continue;
      }
      if (c == first) {
        if (!rest_.starts_with(first)) break;
        rest_.remove_prefix(1);
      }
      token_.text += c;
    }
    token_.raw = token_.text;
    return;
  }
  auto in_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || (c & 0x80);
  };
  std::size_t size = 0;
  while (size < rest_.size() && in_word(rest_[size])) ++size;
  token_.kind = size > 0 ? Token::Kind::kWord : Token::Kind::kSign;
  token_.raw = std::string(rest_.substr(0, std::max<std::size_t>(size, 1)));
  rest_.remove_prefix(token_.raw.size());
  for (char c : token_.raw)
    token_.text += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
}

bool read_name(Tokens& tokens, std::string_view schema, std::vector<ObjectName>& into) {
  auto is_name = [&] {
    return tokens.now().kind == Token::Kind::kWord || tokens.now().kind == Token::Kind::kName;
  };
  if (!is_name()) return false;
  ObjectName name{std::string(schema), tokens.now().raw};
  tokens.advance();
  if (tokens.sign('.')) {
    tokens.advance();
    if (!is_name()) return false;
    name.schema = std::exchange(name.name, tokens.now().raw);
    tokens.advance();
  }
  into.push_back(std::move(name));
  return true;
}

bool read_names(Tokens& tokens, std::string_view schema, std::vector<ObjectName>& into) {
  do {
    if (tokens.sign(',')) tokens.advance();
    if (!read_name(tokens, schema, into)) return false;
  } while (tokens.sign(','));
  return true;
}

void skip_existence(Tokens& tokens) {
  if (!tokens.skip("IF")) return;
  tokens.skip("NOT");
  tokens.skip("EXISTS");
}

// Everything up to the object's type: OR REPLACE, TEMPORARY, DEFINER=…, UNIQUE and so on.
bool skip_to_type(Tokens& tokens) {
  constexpr std::string_view kTypes[] = {"TABLE",    "INDEX",     "DATABASE", "SCHEMA", "VIEW",
                                         "TRIGGER",  "FUNCTION",  "EVENT",    "USER",   "ROLE",
                                         "SEQUENCE", "PROCEDURE", "PACKAGE",  "SERVER"};
  for (int i = 0; i < 64 && tokens.now().kind != Token::Kind::kEnd; ++i) {
    for (std::string_view type : kTypes)
      if (tokens.is(type)) return true;
    tokens.advance();
  }
  return false;
}

void read_index(Tokens& tokens, std::string_view schema, StatementInfo& info) {
  tokens.advance();
  while (tokens.now().kind != Token::Kind::kEnd && !tokens.is("ON")) tokens.advance();
  info.kind = StatementKind::kTable;
  if (!tokens.skip("ON") || !read_name(tokens, schema, info.objects))
    info.kind = StatementKind::kUnknown;
}

// The tables that a definition names besides its own.
void read_references(Tokens& tokens, std::string_view schema, StatementInfo& info) {
  while (tokens.now().kind != Token::Kind::kEnd) {
    if (tokens.skip("REFERENCES") || tokens.skip("LIKE"))
      read_name(tokens, schema, info.reads);
    else if (tokens.skip("RENAME")) {
      // RENAME [TO|AS] name, but not RENAME COLUMN, INDEX or KEY.
      if (tokens.is("COLUMN") || tokens.is("INDEX") || tokens.is("KEY")) continue;
      if (!tokens.skip("TO")) tokens.skip("AS");
      read_name(tokens, schema, info.objects);
    } else {
      tokens.advance();
    }
  }
}

void read_table(Tokens& tokens, std::string_view verb, std::string_view schema,
                StatementInfo& info) {
  tokens.advance();
  skip_existence(tokens);
  info.kind = StatementKind::kTable;
  bool read = verb == "DROP" ? read_names(tokens, schema, info.objects)
                             : read_name(tokens, schema, info.objects);
  if (!read) info.kind = StatementKind::kUnknown;
  if (verb != "DROP") read_references(tokens, schema, info);
}

void read_definition(Tokens& tokens, std::string_view verb, std::string_view schema,
                     StatementInfo& info) {
  bool temporary = false;
  Tokens ahead = tokens;
  for (int i = 0; i < 4 && !ahead.is("TABLE") && !ahead.is("SEQUENCE"); ++i) {
    temporary = temporary || ahead.is("TEMPORARY");
    ahead.advance();
  }
  if (!skip_to_type(tokens)) return;
  if (temporary) {
    info.kind = StatementKind::kTemporary;
  } else if (tokens.is("TABLE") || tokens.is("SEQUENCE")) {
    read_table(tokens, verb, schema, info);
  } else if (tokens.is("INDEX")) {
    read_index(tokens, schema, info);
  } else if (tokens.is("DATABASE") || tokens.is("SCHEMA")) {
    tokens.advance();
    skip_existence(tokens);
    info.kind = StatementKind::kSchema;
    std::vector<ObjectName> names;
    bool named = read_name(tokens, "", names);
    info.objects.push_back({named ? names[0].name : std::string(schema), ""});
  } else if (tokens.is("USER") || tokens.is("ROLE") || tokens.is("SERVER")) {
    info.kind = StatementKind::kAccount;
  } else {
    if (tokens.skip("PACKAGE"))
      tokens.skip("BODY");
    else
      tokens.advance();
    skip_existence(tokens);
    info.kind = StatementKind::kProgram;
    if (!read_name(tokens, schema, info.objects)) info.kind = StatementKind::kUnknown;
  }
}

void read_rename(Tokens& tokens, std::string_view schema, StatementInfo& info) {
  if (tokens.is("USER")) {
    info.kind = StatementKind::kAccount;
    return;
  }
  if (!tokens.skip("TABLE") && !tokens.skip("TABLES")) return;
  skip_existence(tokens);
  do {
    if (tokens.sign(',')) tokens.advance();
    if (!read_name(tokens, schema, info.objects)) return;
    while (tokens.now().kind != Token::Kind::kEnd && !tokens.is("TO")) tokens.advance();
    if (!tokens.skip("TO") || !read_name(tokens, schema, info.objects)) return;
  } while (tokens.sign(','));
  info.kind = StatementKind::kTable;
}

template <std::size_t N>
bool one_of(const Tokens& tokens, const std::string_view (&words)[N]) {
  return std::any_of(std::begin(words), std::end(words),
                     [&](std::string_view word) { return tokens.is(word); });
}

constexpr int kStatementPrefixesMax = 8;

// Passes SET STATEMENT … FOR; false, with nothing passed, when that is not what stands here.
bool skip_set_statement(Tokens& tokens) {
  Tokens ahead = tokens;
  if (!ahead.skip("SET") || !ahead.skip("STATEMENT")) return false;
  for (int depth = 0; ahead.now().kind != Token::Kind::kEnd; ahead.advance()) {
    if (ahead.sign('(')) ++depth;
    if (ahead.sign(')')) --depth;
    if (depth > 0 || !ahead.is("FOR")) continue;
    ahead.advance();
    tokens = ahead;
    return true;
  }
  return false;
}

StatementInfo classify(Tokens& tokens, std::string_view default_schema) {
  constexpr std::string_view kControl[] = {"BEGIN", "COMMIT", "SAVEPOINT", "START", "RELEASE"};
  constexpr std::string_view kDefine[] = {"CREATE", "ALTER", "DROP"};
  constexpr std::string_view kUpkeep[] = {"ANALYZE", "OPTIMIZE", "REPAIR", "FLUSH", "CHECK"};
  constexpr std::string_view kAccount[] = {"GRANT", "REVOKE", "INSTALL", "UNINSTALL"};
  constexpr std::string_view kRows[] = {"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD",
                                        "WITH",   "CALL",   "DO",     "SELECT"};
  StatementInfo info;
  std::string verb = tokens.now().text;
  if (one_of(tokens, kControl)) {
    info.kind = StatementKind::kControl;
  } else if (one_of(tokens, kDefine)) {
    tokens.advance();
    read_definition(tokens, verb, default_schema, info);
  } else if (one_of(tokens, kUpkeep)) {
    info.kind = StatementKind::kUpkeep;
  } else if (one_of(tokens, kAccount)) {
    info.kind = StatementKind::kAccount;
  } else if (one_of(tokens, kRows)) {
    info.kind = StatementKind::kRows;
  } else if (tokens.skip("SET")) {
    if (tokens.is("PASSWORD") || tokens.is("ROLE") || tokens.is("DEFAULT"))
      info.kind = StatementKind::kAccount;
  } else if (tokens.is("ROLLBACK")) {
    info.kind = StatementKind::kRollback;
  } else if (tokens.skip("RENAME")) {
    read_rename(tokens, default_schema, info);
  } else if (tokens.skip("TRUNCATE")) {
    tokens.skip("TABLE");
    info.kind = read_name(tokens, default_schema, info.objects) ? StatementKind::kTable
                                                                : StatementKind::kUnknown;
  }
  return info;
}

}  // namespace

Result<LoggedQuery> read_query(const mysql::Event& event) {
  auto parsed = mysql::parse_query(event);
  if (!parsed) return fail(std::move(parsed.error()));
  LoggedQuery query;
  query.time = event.time;
  query.error = parsed->error_code;
  query.schema = std::string(parsed->schema);
  read_status(Bytes(parsed->status), query);
  query.sql = std::string(parsed->sql);
  if (!parsed->compressed) return query;
  auto sql = mysql::unpack(parsed->sql);
  if (!sql) return fail(Code::kCorrupt, "binary log: a compressed statement cannot be unpacked");
  query.sql = std::move(*sql);
  return query;
}

StatementInfo inspect(std::string_view sql, std::string_view default_schema) {
  Tokens tokens(sql);
  // SET STATEMENT variable = value, … FOR the statement proper.
  for (int i = 0; i < kStatementPrefixesMax && tokens.is("SET"); ++i) {
    if (!skip_set_statement(tokens)) break;
  }
  return classify(tokens, default_schema);
}

}  // namespace leeward::replication::internal
