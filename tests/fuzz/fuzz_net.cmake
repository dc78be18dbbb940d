leeward_fuzz(http_target_fuzz.cc DEPS leeward_net)
