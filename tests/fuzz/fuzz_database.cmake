leeward_fuzz(ledger_fuzz.cc DEPS leeward_database)
