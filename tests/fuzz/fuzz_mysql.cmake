leeward_fuzz(binlog_fuzz.cc DEPS leeward_database)
