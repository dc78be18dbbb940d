// Every column type of MariaDB 10.11 with its edge values: "columns|values|other values".
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "servers/servers.h"

namespace leeward::replication::testing {

using leeward::testing::MariadbServer;

inline constexpr const char* kEveryType[] = {
    "a TINYINT, b SMALLINT, c MEDIUMINT, d INT, e BIGINT|-128,-32768,-8388608,-2147483648,"
    "-9223372036854775808|127,32767,8388607,2147483647,9223372036854775807",
    "a TINYINT UNSIGNED, b MEDIUMINT UNSIGNED, e BIGINT UNSIGNED|255,16777215,"
    "18446744073709551615|0,0,0",
    "a DECIMAL(20,6), b DECIMAL(65,30), c "
    "DECIMAL(9,0)|-123456.789012,-0.000000000000000000000000000001"
    ",-999999999|99999999999999.999999,12345678901234567890123456789012345.5,0",
    "a FLOAT, b DOUBLE|1.5,-2.25e300|-3.4e38,1e-300",
    "a BIT(1), b BIT(12), c BIT(64)|b'1',b'101010101010',18446744073709551615|b'0',b'1',0",
    "a DATE, b TIME, c TIME(2), d TIME(6), e DATETIME, f DATETIME(3), g DATETIME(6), h YEAR|"
    "'1000-01-01','-838:59:59','-01:02:03.45','-00:00:00.000001','1000-01-01 00:00:00',"
    "'9999-12-31 23:59:59.999','2024-05-06 07:08:09.654321',1901|'9999-12-31','838:59:59',"
    "'00:00:00.01','12:34:56.789012','9999-12-31 23:59:59','1000-01-01 00:00:00.001',"
    "'2024-02-29 00:00:00.000001',2155",
    "a TIMESTAMP NULL, b TIMESTAMP(3) NULL, c TIMESTAMP(6) NULL|'1970-01-01 00:00:01',"
    "'2024-05-06 07:08:09.123','2038-01-19 03:14:07.999999'|NULL,NULL,NULL",
    "a CHAR(10), b CHAR(100) CHARACTER SET utf8mb4, c VARCHAR(300) CHARACTER SET utf8mb4, "
    "d CHAR(5) CHARACTER SET latin1, e VARCHAR(9) CHARACTER SET ucs2|'abc','\xf0\x9f\x90\xac "
    "four','quote'' \\\\ back','caf\xc3\xa9','\xc3\xa9\xe2\x82\xac'|'','base64:AAAA',NULL,'','x'",
    "a BINARY(8), b VARBINARY(20), c BLOB, d LONGBLOB|'bin',x'00ff00',x'0001',REPEAT(x'ab',"
    "70000)|x'0000000000000000','',x'',NULL",
    "a TINYTEXT, b TEXT, c MEDIUMTEXT CHARACTER SET latin1|'t',REPEAT('\xe2\x82\xac',20000),"
    "'caf\xc3\xa9'|NULL,'',''",
    "a ENUM('a','b','caf\xc3\xa9'), b SET('x','y','z')|'caf\xc3\xa9','x,z'|'a',''",
    "a JSON, b JSON|'{\"a\":[1,\"\xf0\x9f\x90\xac\"]}','null'|NULL,'[]'",
    "a INET6, b INET4, c UUID|'::1','1.2.3.4','123e4567-e89b-12d3-a456-426655440000'|'fe80::1',"
    "'0.0.0.0','00000000-0000-0000-0000-000000000000'",
    "a POINT, b GEOMETRY|ST_GeomFromText('POINT(1 2)'),ST_GeomFromText('LINESTRING(0 0,1 1)')|"
    "ST_GeomFromText('POINT(-1 -2)'),NULL",
    "a VARCHAR(200) COMPRESSED, b BLOB COMPRESSED|REPEAT('compress me',15),REPEAT(x'00',3000)|"
    "'',x'01'",
    "a INT, b INT INVISIBLE DEFAULT 7, c INT AS (a * 2) VIRTUAL, d INT AS (a + 1) STORED|1,"
    "DEFAULT,DEFAULT,DEFAULT|2,DEFAULT,DEFAULT,DEFAULT",
};

// Makes `schema` with a table for each kind of column, and inserts, changes and deletes rows there.
inline void change_all_types(MariadbServer& server, const std::string& schema) {
  server.run("CREATE DATABASE IF NOT EXISTS " + schema + " CHARACTER SET utf8mb4");
  int number = 0;
  for (std::string_view line : kEveryType) {
    std::size_t first = line.find('|');
    std::size_t second = line.find('|', first + 1);
    std::string columns(line.substr(0, first));
    std::string edge(line.substr(first + 1, second - first - 1));
    std::string other(line.substr(second + 1));
    std::string names = "id";
    bool invisible = columns.find("INVISIBLE") != std::string::npos;
    if (invisible) names += ", a, b, c, d";
    std::string table = fmt::format("{}.t{}", schema, ++number);
    server.run(fmt::format("CREATE TABLE {} (id INT PRIMARY KEY, {})", table, columns));
    std::string into = "INSERT INTO " + table + (invisible ? " (" + names + ")" : "") + " VALUES ";
    server.run(fmt::format("{}(1, {}), (2, {}), (3, {})", into, edge, other, edge));
    server.run(fmt::format("UPDATE {0} SET id = 20 WHERE id = 2", table));
    server.run(fmt::format("REPLACE INTO {0}{1} VALUES (1, {2})", table,
                           invisible ? " (" + names + ")" : "", other));
    server.run(fmt::format("{}(4, {})", into, edge));
    server.run(fmt::format("DELETE FROM {} WHERE id = 3", table));
  }
}

// CHECKSUM TABLE of each at both ends.
inline void compare_all_types(MariadbServer& source, MariadbServer& target,
                              const std::string& schema) {
  for (std::size_t i = 1; i <= std::size(kEveryType); ++i) {
    std::string sql = fmt::format("CHECKSUM TABLE {}.t{}", schema, i);
    auto sum = [&](MariadbServer& server) {
      auto rows = server.connect().query(sql, BootClock::now() + 60s);
      return rows && !rows->rows.empty() ? rows->rows[0][1].value_or("none") : "none";
    };
    std::string wanted = sum(source);
    EXPECT_NE(wanted, "none") << sql;
    EXPECT_EQ(wanted, sum(target)) << sql;
  }
}

}  // namespace leeward::replication::testing
