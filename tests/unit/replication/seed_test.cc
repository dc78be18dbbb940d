// The seed between two real servers: exact values, chunks, resuming, and the hand-over.
#include "replication/seed.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "replication/stream.h"
#include "servers/certificates.h"
#include "servers/servers.h"

namespace leeward::replication {
namespace {

class Seed : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new testing::TempDirectory;
    authority_ = new testing::Authority(directory_->path(), "authority");
    auto server = authority_->issue("server", "127.0.0.1");
    source_ = new testing::MariadbServer(
        1, {"--ssl-cert=" + server.certificate, "--ssl-key=" + server.key,
            "--ssl-ca=" + authority_->certificate()});
    target_ = new testing::MariadbServer(2);
    source_->start();
    target_->start();
  }
  static void TearDownTestSuite() {
    delete source_;
    delete target_;
    delete authority_;
    delete directory_;
  }

  SeedOptions options(const std::string& task, const std::string& schema) {
    SeedOptions o;
    o.task = task;
    o.mapping.include = {{schema, "%"}};
    o.source = source_->admin();
    o.target = target_->admin();
    o.settings.chunk_rows = 500;
    return o;
  }
  static void run_all(const std::vector<std::string>& statements) {
    for (const std::string& sql : statements) source_->run(sql);
  }
  static std::string both(const std::string& sql) {
    std::string a = source_->scalar(sql), b = target_->scalar(sql);
    EXPECT_EQ(a, b) << sql;
    return a;
  }

  static testing::TempDirectory* directory_;
  static testing::Authority* authority_;
  static testing::MariadbServer* source_;
  static testing::MariadbServer* target_;
};
testing::TempDirectory* Seed::directory_ = nullptr;
testing::Authority* Seed::authority_ = nullptr;
testing::MariadbServer* Seed::source_ = nullptr;
testing::MariadbServer* Seed::target_ = nullptr;

// Every type, at its edges; compared as bytes, FLOAT as DOUBLE.
const std::vector<std::string> kTypes = {
    "CREATE DATABASE types CHARACTER SET latin1",
    "SET SESSION sql_mode='ALLOW_INVALID_DATES'",
    "CREATE TABLE types.t (id INT AUTO_INCREMENT PRIMARY KEY, "
    "a BIGINT UNSIGNED, b TINYINT, c DECIMAL(65,30), d FLOAT, e DOUBLE, f BIT(64), g YEAR, "
    "h DATE, i TIME(6), j DATETIME(6), k TIMESTAMP(6) NULL, l CHAR(10), m BINARY(4), "
    "n VARCHAR(50) CHARACTER SET utf8mb4, o VARBINARY(50), p BLOB, q TEXT CHARACTER SET utf16, "
    "r ENUM('1','x','ä') CHARACTER SET utf8mb4, s SET('a','b','ö') CHARACTER SET utf8mb4, "
    "t JSON, u UUID, v INET6, w INET4, x GEOMETRY, y VARCHAR(100) COMPRESSED, "
    "z LONGTEXT CHARACTER SET ucs2, ga INT AS (b * 2) VIRTUAL, gb INT AS (b * 3) PERSISTENT, "
    "inv VARCHAR(20) INVISIBLE DEFAULT 'unseen', KEY by_n (n), KEY by_b (b, c)) "
    "COMMENT='it''s a, \"test\"'",
    "INSERT INTO types.t (a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,inv) VALUES "
    "(18446744073709551615,-128,-12345678901234567890.000000000000000000000000000001,0.1,"
    "1.7976931348623157e308,b'1111111111111111111111111111111111111111111111111111111111111111',"
    "2155,'9999-12-31','-838:59:59.999999','9999-12-31 23:59:59.999999',"
    "'2038-01-19 03:14:07.999999','end  ',X'00FF0A09','𝄞\\\\\\t\\n\\'',X'005C0A0D091A27',"
    "X'00010203','snow ☃ 𝄞',1,'a,ö','{\"k\": [1, null]}',"
    "'01234567-89ab-cdef-0123-456789abcdef','2001:db8::1','10.0.0.1',"
    "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326),REPEAT('ab',40),'ucs ü','seen'),"
    "(0,127,0,-3.4028235e38,-4.9e-324,b'0',0,'0000-00-00','00:00:00','0000-00-00 00:00:00',"
    "'1970-01-01 00:00:01','',X'','','','','','x','','[]',"
    "'00000000-0000-0000-0000-000000000000','::','0.0.0.0',ST_GeomFromText('POINT(-1.5 2)'),'',"
    "'',''),"
    "(NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,"
    "NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),"
    "(1,1,0.1,16777217,0.1,b'101',1901,'2024-02-31','12:00:00.5','2024-02-29 01:02:03.000004',"
    "'2024-02-29 01:02:03.000004','é',X'FFFFFFFF','\\\\N',X'5C4E',REPEAT('x',70000),'\\\\N',3,"
    "'b','\"\\\\u2603\"',UUID(),'::ffff:1.2.3.4','255.255.255.255',"
    "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,2 2))'),'\\t','\\0','x')",
    "SET SESSION sql_mode=''",
    "UPDATE types.t SET r='not there' WHERE id=2"};

TEST_F(Seed, CarriesEveryTypeExactly) {
  run_all(kTypes);
  std::string select = "SELECT MD5(GROUP_CONCAT(MD5(CONCAT_WS('|',id";
  for (char c = 'a'; c <= 'z'; ++c) {
    std::string name(1, c);
    if (c == 'd') name = "CAST(d AS DOUBLE)";
    if (c == 'f' || c == 'r' || c == 's') name = name + "+0";
    select += ",IFNULL(HEX(" + name + "),'null')";
  }
  select += ",IFNULL(ga,0),IFNULL(gb,0),IFNULL(HEX(inv),'null'))) ORDER BY id)) FROM types.t";
  auto done = seed(options("types", "types"), {});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->rows, 4u);
  EXPECT_FALSE(done->logged);
  EXPECT_TRUE(done->notes.empty());
  EXPECT_FALSE(both(select).empty());
  both("SELECT HEX(r+0) FROM types.t WHERE id=2");
  both(
      "SELECT GROUP_CONCAT(CONCAT(index_name,column_name) ORDER BY 1) FROM "
      "information_schema.statistics WHERE table_schema='types'");
  both("SELECT table_comment FROM information_schema.tables WHERE table_schema='types'");
  both(
      "SELECT default_character_set_name FROM information_schema.schemata WHERE "
      "schema_name='types'");
}

TEST_F(Seed, GoesOnAtTheChunkAfterItWasStopped) {
  run_all({"CREATE DATABASE stopped", "USE stopped",
           "CREATE TABLE stopped.a (x VARCHAR(20) NOT NULL, y INT NOT NULL, pad CHAR(200), PRIMARY "
           "KEY (x, y)) DEFAULT CHARACTER SET utf8mb4",
           "INSERT INTO stopped.a SELECT CONCAT('Kä', seq DIV 7), seq, REPEAT('p',200) FROM "
           "seq_1_to_20000"});
  auto o = options("stopped", "stopped");
  // 20,000 rows of 220 bytes: slow enough that the first report comes in the middle.
  o.throttle.megabytes_a_second = 4;
  auto ended = seed(o, [](const Progress& p) { return p.rows < 6000; });
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, Code::kConflict);
  auto there = std::stoi(target_->scalar("SELECT COUNT(*) FROM stopped.a"));
  EXPECT_GT(there, 0);
  EXPECT_LT(there, 20000);
  auto sql = target_->connect();
  auto state = read_seed_state(sql, "stopped", BootClock::now() + 5s);
  ASSERT_TRUE(state);
  EXPECT_FALSE(*state);
  o.throttle.megabytes_a_second = 0;
  std::uint64_t again = 0;
  auto done = seed(o, [&](const Progress& p) {
    again = p.rows;
    return true;
  });
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_LE(again, 20000u - static_cast<unsigned>(there));
  EXPECT_EQ(done->rows, 20000u);
  EXPECT_EQ(both("SELECT COUNT(*) FROM stopped.a"), "20000");
  both("SELECT BIT_XOR(CAST(CRC32(CONCAT(HEX(x),y,pad)) AS UNSIGNED)) FROM stopped.a");
  EXPECT_TRUE(*read_seed_state(sql, "stopped", BootClock::now() + 5s));
  // A third call finds everything there.
  ASSERT_TRUE(seed(o, {}));
  EXPECT_EQ(both("SELECT COUNT(*) FROM stopped.a"), "20000");
}

TEST_F(Seed, RefusesATableThatHasRowsOfSomebodyElse) {
  run_all({"CREATE DATABASE taken", "CREATE TABLE taken.t (id INT PRIMARY KEY)",
           "INSERT INTO taken.t VALUES (1)"});
  target_->run("CREATE DATABASE taken");
  target_->run("CREATE TABLE taken.t (id INT PRIMARY KEY)");
  target_->run("INSERT INTO taken.t VALUES (7)");
  auto done = seed(options("taken", "taken"), {});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kRefused);
  EXPECT_EQ(target_->scalar("SELECT GROUP_CONCAT(id) FROM taken.t"), "7");
}

TEST_F(Seed, MapsNamesColumnsAndRows) {
  using Action = NameChange::Action;
  run_all({"CREATE DATABASE mapped",
           "CREATE TABLE mapped.orders (id INT PRIMARY KEY, region VARCHAR(10), total "
           "DECIMAL(10,2), secret TEXT, KEY by_total (total), KEY by_secret (secret(5)))",
           "INSERT INTO mapped.orders VALUES (1,'eu',10,'s'),(2,'EU',20,'s'),(3,'eu',9.99,'s'),"
           "(4,NULL,50,'s'),(5,'eu',10.01,'s')"});
  auto o = options("mapped", "mapped");
  o.mapping.renames = {
      {NameOf::kSchema, {"mapped", "%"}, "%", {Action::kRename, "remapped", ""}},
      {NameOf::kTable, {"mapped", "orders"}, "%", {Action::kRename, "sales", ""}},
      {NameOf::kColumn, {"mapped", "orders"}, "total", {Action::kRename, "amount", ""}}};
  o.mapping.columns = {{{"mapped", "orders"}, "secret", true}};
  auto filter = parse_filter("region = 'eu' and total >= 10");
  ASSERT_TRUE(filter);
  o.mapping.filters = {{{"mapped", "orders"}, *filter}};
  auto done = seed(o, {});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->notes.size(), 1u);  // by_secret
  EXPECT_EQ(target_->scalar("SELECT GROUP_CONCAT(id,':',amount ORDER BY id) FROM remapped.sales"),
            "1:10.00,5:10.01");
  EXPECT_EQ(target_->scalar("SELECT GROUP_CONCAT(column_name) FROM information_schema.columns "
                            "WHERE table_schema='remapped'"),
            "id,region,amount");
  EXPECT_EQ(target_->scalar("SELECT COUNT(*) FROM information_schema.statistics WHERE "
                            "table_schema='remapped' AND index_name='by_total'"),
            "1");
}

TEST_F(Seed, AnExpiredCertificateOrWrongPasswordIsSaidAndTheCopyKept) {
  run_all({"CREATE DATABASE safe", "CREATE TABLE safe.t (id INT PRIMARY KEY, pad CHAR(200))",
           "INSERT INTO safe.t SELECT seq, REPEAT('p',200) FROM safe.seq_1_to_10000"});
  auto o = options("safe", "safe");
  o.source.tls = {mysql::TlsMode::kVerifyIdentity, authority_->certificate(), "", "", ""};
  o.throttle.megabytes_a_second = 4;
  EXPECT_EQ(seed(o, [](const Progress& p) { return p.rows < 3000; }).error().code, Code::kConflict);
  std::string there = target_->scalar("SELECT COUNT(*) FROM leeward.seed_chunks WHERE task='safe'");
  EXPECT_NE(there, "0");

  authority_->issue("server", "127.0.0.1", -1h);
  source_->run("FLUSH SSL");
  auto expired = seed(o, {});
  ASSERT_FALSE(expired);
  EXPECT_EQ(expired.error().code, Code::kRefused) << expired.error().message;
  EXPECT_NE(expired.error().message.find("expired"), std::string::npos) << expired.error().message;
  authority_->issue("server", "127.0.0.1");
  source_->run("FLUSH SSL");

  auto wrong = o;
  wrong.source.password = "not the password";
  auto refused = seed(wrong, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnauthorized) << refused.error().message;
  EXPECT_EQ(refused.error().message.find("not the password"), std::string::npos);

  EXPECT_EQ(target_->scalar("SELECT COUNT(*) FROM leeward.seed_chunks WHERE task='safe'"), there);
  o.throttle.megabytes_a_second = 0;
  auto done = seed(o, {});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->rows, 10000u);
  EXPECT_EQ(both("SELECT COUNT(*) FROM safe.t"), "10000");
}

// An ALTER TABLE whose success nobody noted is neither made twice nor taken for granted.
TEST_F(Seed, BuildsTheIndexesThatAreNotThereYet) {
  run_all({"CREATE DATABASE indexed", "CREATE TABLE indexed.p (id INT PRIMARY KEY)",
           "CREATE TABLE indexed.t (id INT PRIMARY KEY, a INT, b VARCHAR(9), KEY by_a (a), UNIQUE "
           "KEY by_b (b), CONSTRAINT to_p FOREIGN KEY (a) REFERENCES indexed.p (id))",
           "CREATE VIEW indexed.seen AS SELECT a FROM indexed.t",
           "CREATE VIEW indexed.first AS SELECT a FROM indexed.seen",
           "CREATE PROCEDURE indexed.act() SELECT 1",
           "CREATE EVENT indexed.tick ON SCHEDULE EVERY 1 DAY DO SELECT 1",
           "INSERT INTO indexed.p VALUES (1)", "INSERT INTO indexed.t VALUES (1, 1, 'x')"});
  auto o = options("indexed", "indexed");
  auto first = seed(o, {});
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_TRUE(first->notes.empty()) << first->notes.front();
  auto definition = [](testing::MariadbServer& server) {
    auto rows = server.connect().query("SHOW CREATE TABLE indexed.t", BootClock::now() + 5s);
    return rows ? rows->rows[0][1].value_or("") : "";
  };
  EXPECT_EQ(definition(*target_), definition(*source_));
  // As if the process had ended right behind the ALTER TABLE, and one index had been dropped since.
  target_->run("SET SESSION sql_log_bin=0");
  target_->run("UPDATE leeward.seed_tables SET stage=1 WHERE task='indexed'");
  target_->run("ALTER TABLE indexed.t DROP KEY by_b");
  ASSERT_TRUE(seed(o, {}));
  EXPECT_EQ(definition(*target_), definition(*source_));
  EXPECT_EQ(target_->scalar("SELECT GROUP_CONCAT(table_name ORDER BY 1) FROM "
                            "information_schema.views WHERE table_schema='indexed'"),
            "first,seen");
  EXPECT_EQ(target_->scalar("SELECT COUNT(*) FROM information_schema.routines WHERE "
                            "routine_schema='indexed'"),
            "1");
  EXPECT_EQ(target_->scalar("SELECT status FROM information_schema.events WHERE "
                            "event_schema='indexed'"),
            "SLAVESIDE_DISABLED");
}

// While writers move money, insert, delete and swap unique values, the copy plus the stream from
// its positions is the source: keys of integers and of text, no key at all, cascading and plain
// foreign keys.
TEST_F(Seed, TheStreamGoesOnExactlyFromTheCopy) {
  run_all({"CREATE DATABASE live", "USE live",
           "CREATE TABLE live.accounts (id INT PRIMARY KEY, v BIGINT NOT NULL, pad CHAR(100))",
           "CREATE TABLE live.texts (id VARCHAR(20) PRIMARY KEY, v BIGINT NOT NULL)",
           "CREATE TABLE live.names (id INT PRIMARY KEY, name VARCHAR(20), UNIQUE KEY (name))",
           "CREATE TABLE live.heap (v BIGINT NOT NULL)",
           "CREATE TABLE live.parents (id INT PRIMARY KEY)",
           "CREATE TABLE live.children (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) "
           "REFERENCES live.parents (id) ON DELETE CASCADE)",
           "CREATE TABLE live.orders (id INT PRIMARY KEY)",
           "CREATE TABLE live.lines (id INT PRIMARY KEY, order_id INT NOT NULL, FOREIGN KEY "
           "(order_id) REFERENCES live.orders (id))",
           "INSERT INTO live.accounts SELECT seq, 1000, 'x' FROM seq_1_to_8000",
           "INSERT INTO live.texts SELECT CONCAT('K', seq), 0 FROM seq_1_to_4000",
           "INSERT INTO live.names SELECT seq, CONCAT('n', seq) FROM seq_1_to_2000",
           "INSERT INTO live.parents SELECT seq FROM seq_1_to_3000",
           "INSERT INTO live.children SELECT seq, seq FROM seq_1_to_3000",
           "INSERT INTO live.orders SELECT seq FROM seq_1_to_3000",
           "INSERT INTO live.lines SELECT seq, seq FROM seq_1_to_3000"});
  std::atomic<bool> end = false;
  std::vector<std::thread> writers;
  for (int w = 0; w < 3; ++w)
    writers.emplace_back([&, w] {
      auto sql = source_->connect();
      for (int i = 0; !end; ++i) {
        int a = (i * 7919 + w * 13) % 8000 + 1, b = (i * 104729 + w) % 8000 + 1;
        auto run = [&](const std::string& s) { (void)sql.execute(s, BootClock::now() + 20s); };
        run("BEGIN");
        run(fmt::format("UPDATE live.accounts SET v=v-1 WHERE id={}", a));
        run(fmt::format("UPDATE live.accounts SET v=v+1 WHERE id={}", b));
        run("INSERT INTO live.heap VALUES (1)");
        run("COMMIT");
        int n = i % 1000 + 1;
        run(fmt::format("UPDATE live.names SET name=CONCAT('t{}-', id) WHERE id={}", w, n));
        run(fmt::format("DELETE FROM live.parents WHERE id={}", (i * 3 + w) % 3000 + 1));
        // A key that moves to another chunk, and one that goes and comes.
        run(fmt::format("UPDATE live.texts SET id='M{}-{}', v=v+1 WHERE id='K{}'", w, i, a % 4000));
        run(fmt::format("REPLACE INTO live.texts VALUES ('K{}', {})", b % 4000, i));
        run(fmt::format("DELETE FROM live.lines WHERE order_id={}", b % 3000 + 1));
        run(fmt::format("DELETE FROM live.orders WHERE id={}", b % 3000 + 1));
        run(fmt::format("INSERT INTO live.orders VALUES ({})", 10000 + 3 * i + w));
        run(fmt::format("INSERT INTO live.lines VALUES ({0}, {0})", 10000 + 3 * i + w));
      }
    });
  auto o = options("live", "live");
  o.throttle.megabytes_a_second = 1;
  testing::TempDirectory state;
  StreamOptions stream;
  stream.task = o.task;
  stream.source = {
      source_->endpoint(), testing::MariadbServer::kUser, testing::MariadbServer::kPassword, {}};
  stream.source_sql = o.source;
  stream.target = o.target;
  stream.server_id = 4001;
  stream.mapping = o.mapping;
  stream.state_dir = state.path();
  StreamParts parts;
  SeedState copied;
  parts.seed = [&](const OnProgress& progress) -> Result<mysql::GtidPosition> {
    auto done = seed(o, progress);
    if (!done) return fail(std::move(done.error()));
    copied = done->state;
    return copied.from;
  };
  StreamDriver driver(stream, parts);
  auto done = driver.seed({});
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_TRUE(driver.start(BootClock::now() + 20s));
  std::this_thread::sleep_for(500ms);  // some of the writes belong to the stream alone
  end = true;
  for (auto& writer : writers) writer.join();
  EXPECT_FALSE(copied.from == copied.until);
  EXPECT_GT(copied.tables.at({"live", "accounts"}).chunks.size(), 10u);
  EXPECT_TRUE(copied.tables.at({"live", "accounts"}).integer_key);
  EXPECT_FALSE(copied.tables.at({"live", "texts"}).integer_key);
  // One snapshot for what could contradict itself.
  EXPECT_EQ(copied.tables.at({"live", "names"}).chunks.front().at,
            copied.tables.at({"live", "names"}).chunks.back().at);
  EXPECT_TRUE(copied.tables.at({"live", "parents"}).cascades);
  EXPECT_EQ(copied.tables.at({"live", "parents"}).chunks.front().at,
            copied.tables.at({"live", "children"}).chunks.front().at);
  EXPECT_FALSE(copied.tables.at({"live", "orders"}).cascades);
  auto drained = driver.drain({}, BootClock::now() + 90s);
  ASSERT_TRUE(drained) << drained.error().message;
  EXPECT_EQ(both("SELECT SUM(v) FROM live.accounts"), "8000000");
  for (const char* table :
       {"accounts", "texts", "names", "heap", "parents", "children", "orders", "lines"})
    EXPECT_NE(both(fmt::format("SELECT COUNT(*) FROM live.{}", table)), "0");
  both("SELECT BIT_XOR(CAST(CRC32(CONCAT(id,'-',v)) AS UNSIGNED)) FROM live.accounts");
  both("SELECT BIT_XOR(CAST(CRC32(CONCAT(id,'-',v)) AS UNSIGNED)) FROM live.texts");
  both("SELECT BIT_XOR(CAST(CRC32(CONCAT(id,'-',name)) AS UNSIGNED)) FROM live.names");
  both("SELECT BIT_XOR(CAST(CRC32(CONCAT(id,'-',parent)) AS UNSIGNED)) FROM live.children");
  both("SELECT BIT_XOR(CAST(CRC32(id) AS UNSIGNED)) FROM live.orders");
  both("SELECT BIT_XOR(CAST(CRC32(id) AS UNSIGNED)) FROM live.lines");
  // A new life of the stream does not copy again.
  ASSERT_TRUE(driver.stop(BootClock::now() + 20s));
  copied = {};
  ASSERT_TRUE(StreamDriver(stream, parts).seed({}));
  EXPECT_TRUE(copied.tables.empty());
}

}  // namespace
}  // namespace leeward::replication
