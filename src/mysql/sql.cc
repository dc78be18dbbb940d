#include "mysql/sql.h"

#include <mariadb/errmsg.h>
#include <mariadb/mysql.h>
#include <mariadb/mysqld_error.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>

namespace leeward::mysql {
namespace {

// libmariadb counts in whole seconds, so its time-outs only bound the parts that poll() cannot see:
// the handshake and the rest of an answer that has begun to arrive.

unsigned whole_seconds(Duration left, Duration most) {
  auto up = std::chrono::ceil<std::chrono::seconds>(std::min(left, most)).count();
  return static_cast<unsigned>(std::max<std::int64_t>(up, 1));
}

Code code_of(unsigned number) {
  switch (number) {
    case CR_CONN_HOST_ERROR:
    case CR_CONNECTION_ERROR:
    case CR_SERVER_GONE_ERROR:
    case CR_SERVER_LOST:
    case CR_SERVER_LOST_EXTENDED:
    case ER_SERVER_SHUTDOWN:
    case ER_CON_COUNT_ERROR:
      return Code::kUnavailable;
    case ER_ACCESS_DENIED_ERROR:
    case ER_DBACCESS_DENIED_ERROR:
    case ER_SPECIFIC_ACCESS_DENIED_ERROR:
    case ER_TABLEACCESS_DENIED_ERROR:
    case ER_HOST_NOT_PRIVILEGED:
      return Code::kUnauthorized;
    case CR_SSL_CONNECTION_ERROR:
      return Code::kRefused;
    case ER_LOCK_WAIT_TIMEOUT:
    case ER_STATEMENT_TIMEOUT:
      return Code::kTimeout;
    default:
      return Code::kUnhealthy;
  }
}

bool is_lost(unsigned number) {
  return number == CR_SERVER_GONE_ERROR || number == CR_SERVER_LOST ||
         number == CR_SERVER_LOST_EXTENDED || number == CR_MALFORMED_PACKET;
}

Status wait_readable(int fd, BootTime deadline) {
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - BootClock::now()).count();
    pollfd entry{fd, POLLIN, 0};
    int ready = ::poll(&entry, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return fail(os_error(errno, "poll"));
    if (ready == 0 && left <= 0) return fail(Code::kTimeout, "no answer in time");
  }
}

void set_tls(MYSQL* handle, const TlsOptions& tls) {
  if (tls.mode == TlsMode::kOff) return;
  my_bool yes = 1;
  my_bool verify = tls.mode == TlsMode::kVerifyCa || tls.mode == TlsMode::kVerifyIdentity;
  mysql_optionsv(handle, MYSQL_OPT_SSL_ENFORCE, &yes);
  mysql_optionsv(handle, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
  if (!tls.authority_file.empty())
    mysql_optionsv(handle, MYSQL_OPT_SSL_CA, tls.authority_file.c_str());
  if (!tls.certificate_file.empty())
    mysql_optionsv(handle, MYSQL_OPT_SSL_CERT, tls.certificate_file.c_str());
  if (!tls.key_file.empty()) mysql_optionsv(handle, MYSQL_OPT_SSL_KEY, tls.key_file.c_str());
}

SqlRows read_rows(MYSQL_RES* result) {
  SqlRows rows;
  unsigned width = mysql_num_fields(result);
  const MYSQL_FIELD* fields = mysql_fetch_fields(result);
  for (unsigned i = 0; i < width; ++i) rows.columns.emplace_back(fields[i].name);
  while (MYSQL_ROW row = mysql_fetch_row(result)) {
    const unsigned long* lengths = mysql_fetch_lengths(result);
    auto& cells = rows.rows.emplace_back();
    for (unsigned i = 0; i < width; ++i)
      cells.push_back(row[i] ? Cell(std::string(row[i], lengths[i])) : Cell());
  }
  return rows;
}

}  // namespace

std::string SqlRows::scalar() const {
  return rows.empty() || rows[0].empty() ? std::string() : rows[0][0].value_or("");
}

Cell SqlRows::cell(std::size_t row, std::string_view name) const {
  auto found = std::find(columns.begin(), columns.end(), name);
  if (found == columns.end() || row >= rows.size()) return std::nullopt;
  return rows[row][static_cast<std::size_t>(found - columns.begin())];
}

void SqlConnection::Close::operator()(st_mysql* handle) const { mysql_close(handle); }

std::uint64_t SqlConnection::id() const { return mysql_thread_id(handle_.get()); }

Result<SqlConnection> SqlConnection::open(const SqlTarget& target, BootTime deadline) {
  std::unique_ptr<st_mysql, Close> handle(mysql_init(nullptr));
  if (!handle) return fail(Code::kInternal, "out of memory");
  // A stall_max longer than the default is for transfers, whose pauses have nothing to do with how
  // long the log-in may take.
  unsigned connect_timeout = whole_seconds(deadline - BootClock::now(), SqlTarget{}.stall_max);
  unsigned stall = target.stall_max > SqlTarget{}.stall_max
                       ? whole_seconds(target.stall_max, target.stall_max)
                       : connect_timeout;
  mysql_options(handle.get(), MYSQL_OPT_CONNECT_TIMEOUT, &connect_timeout);
  mysql_options(handle.get(), MYSQL_OPT_READ_TIMEOUT, &stall);
  mysql_options(handle.get(), MYSQL_OPT_WRITE_TIMEOUT, &stall);
  set_tls(handle.get(), target.tls);
  mysql_options(handle.get(), MYSQL_SET_CHARSET_NAME, "utf8mb4");
  // A lock that somebody else holds must not keep our request alive for the server's default of a
  // day.
  mysql_options(handle.get(), MYSQL_INIT_COMMAND,
                "SET time_zone='+00:00', sql_mode='STRICT_ALL_TABLES', lock_wait_timeout=10, "
                "innodb_lock_wait_timeout=5");
  std::string peer = to_string(target.endpoint);
  st_mysql* connected =
      mysql_real_connect(handle.get(), target.endpoint.host.c_str(), target.user.c_str(),
                         target.password.c_str(), nullptr, target.endpoint.port, nullptr, 0);
  if (connected) return SqlConnection(std::move(handle), std::move(peer));
  unsigned number = mysql_errno(handle.get());
  if (BootClock::now() >= deadline || is_lost(number))
    return fail(Code::kTimeout, "MariaDB at {} does not answer", peer);
  return fail(code_of(number), "MariaDB at {}: {}", peer, mysql_error(handle.get()));
}

Error SqlConnection::failure(BootTime deadline) {
  last_error_ = mysql_errno(handle_.get());
  Code code = code_of(last_error_);
  if (is_lost(last_error_) && BootClock::now() >= deadline) code = Code::kTimeout;
  Error error{
      code, fmt::format("MariaDB at {}: {} ({})", peer_, mysql_error(handle_.get()), last_error_)};
  if (is_lost(last_error_)) handle_.reset();
  return error;
}

Result<SqlRows> SqlConnection::query(std::string_view sql, BootTime deadline) {
  if (!handle_) return fail(Code::kUnavailable, "MariaDB at {}: the connection was lost", peer_);
  last_error_ = 0;
  if (mysql_send_query(handle_.get(), sql.data(), sql.size()) != 0) return fail(failure(deadline));
  if (auto ready = wait_readable(mysql_get_socket(handle_.get()), deadline); !ready) {
    handle_.reset();
    return fail(ready.error().code, "MariaDB at {}: {}", peer_, ready.error().message);
  }
  if (mysql_read_query_result(handle_.get()) != 0) return fail(failure(deadline));
  SqlRows rows;
  if (MYSQL_RES* result = mysql_store_result(handle_.get())) {
    rows = read_rows(result);
    mysql_free_result(result);
  } else if (mysql_errno(handle_.get()) != 0) {
    return fail(failure(deadline));
  } else {
    rows.affected = mysql_affected_rows(handle_.get());
  }
  return rows;
}

Status SqlConnection::execute(std::string_view sql, BootTime deadline) {
  auto rows = query(sql, deadline);
  if (!rows) return fail(std::move(rows.error()));
  return {};
}

Result<RowStream> SqlConnection::stream(std::string_view sql, BootTime deadline) {
  if (!handle_) return fail(Code::kUnavailable, "MariaDB at {}: the connection was lost", peer_);
  last_error_ = 0;
  if (mysql_send_query(handle_.get(), sql.data(), sql.size()) != 0) return fail(failure(deadline));
  if (auto ready = wait_readable(mysql_get_socket(handle_.get()), deadline); !ready) {
    handle_.reset();
    return fail(ready.error().code, "MariaDB at {}: {}", peer_, ready.error().message);
  }
  if (mysql_read_query_result(handle_.get()) != 0) return fail(failure(deadline));
  MYSQL_RES* result = mysql_use_result(handle_.get());
  if (result == nullptr) return fail(failure(deadline));
  return RowStream(*this, result);
}

void RowStream::Free::operator()(st_mysql_res* result) const { mysql_free_result(result); }

RowStream::~RowStream() {
  if (!result_) return;
  // Without its connection the answer is freed without reading what is left of it.
  result_->handle = nullptr;
  sql_->handle_.reset();
}

Result<std::optional<RowView>> RowStream::next() {
  if (!result_) return std::nullopt;
  if (MYSQL_ROW cells = mysql_fetch_row(result_.get()))
    return RowView{{cells, mysql_num_fields(result_.get())}, mysql_fetch_lengths(result_.get())};
  result_.reset();
  if (mysql_errno(sql_->handle_.get()) != 0) return fail(sql_->failure(BootClock::now()));
  return std::nullopt;
}

std::string SqlConnection::quote(std::string_view text) const {
  std::string quoted(text.size() * 2 + 3, '\0');
  quoted[0] = '\'';
  std::size_t length =
      mysql_real_escape_string(handle_.get(), quoted.data() + 1, text.data(), text.size());
  quoted.resize(length + 1);
  quoted += '\'';
  return quoted;
}

std::string quote_name(std::string_view name) {
  std::string quoted = "`";
  for (char c : name) {
    if (c == '`') quoted += '`';
    quoted += c;
  }
  return quoted + '`';
}

}  // namespace leeward::mysql
