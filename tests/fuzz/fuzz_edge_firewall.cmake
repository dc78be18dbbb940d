leeward_fuzz(network_list_fuzz.cc DEPS leeward_edge)
