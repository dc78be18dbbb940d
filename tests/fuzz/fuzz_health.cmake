leeward_fuzz(probe_body_fuzz.cc DEPS leeward_health)
