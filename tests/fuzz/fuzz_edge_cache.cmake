leeward_fuzz(cache_fields_fuzz.cc DEPS leeward_edge)
leeward_fuzz(cache_record_fuzz.cc DEPS leeward_edge)
