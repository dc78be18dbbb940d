leeward_fuzz(binlog_fuzz.cc DEPS leeward_database)
leeward_fuzz(assembler_fuzz.cc DEPS leeward_mysql)
leeward_fuzz(gtid_set_fuzz.cc DEPS leeward_mysql)
leeward_fuzz(login_fuzz.cc DEPS leeward_mysql)
