leeward_fuzz(config_fuzz.cc DEPS leeward_config)
