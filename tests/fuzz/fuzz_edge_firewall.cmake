leeward_fuzz(network_list_fuzz.cc DEPS leeward_edge)
leeward_fuzz(challenge_fuzz.cc DEPS leeward_edge)
leeward_fuzz(ja4_fuzz.cc DEPS leeward_edge)
leeward_fuzz(audit_body_fuzz.cc DEPS leeward_edge)
