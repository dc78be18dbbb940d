leeward_fuzz(config_fuzz.cc DEPS leeward_config)
leeward_fuzz(prices_fuzz.cc DEPS leeward_config)
