leeward_fuzz(binlog_fuzz.cc DEPS leeward_database)
leeward_fuzz(ledger_fuzz.cc DEPS leeward_database)
