leeward_fuzz(http_target_fuzz.cc DEPS leeward_net)
leeward_fuzz(dns_answer_fuzz.cc DEPS leeward_net)
