leeward_fuzz(http1_fuzz.cc DEPS leeward_edge)
leeward_fuzz(chunked_body_fuzz.cc DEPS leeward_edge)
leeward_fuzz(proxy_header_fuzz.cc DEPS leeward_edge)
leeward_fuzz(signed_url_fuzz.cc DEPS leeward_edge)
