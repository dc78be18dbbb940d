leeward_fuzz(dns_query_fuzz.cc DEPS leeward_dns)
leeward_fuzz(dns_state_fuzz.cc DEPS leeward_dns)
