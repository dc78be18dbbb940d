leeward_fuzz(waf_arguments_fuzz.cc DEPS leeward_waf)
leeward_fuzz(waf_transform_fuzz.cc DEPS leeward_waf)
# Compared with the library that the rules were written for.
pkg_check_modules(modsecurity_oracle REQUIRED IMPORTED_TARGET modsecurity)
leeward_fuzz(waf_detect_fuzz.cc DEPS leeward_waf PkgConfig::modsecurity_oracle)
leeward_fuzz(waf_json_fuzz.cc DEPS leeward_waf)
leeward_fuzz(waf_multipart_fuzz.cc DEPS leeward_waf)
leeward_fuzz(waf_xml_fuzz.cc DEPS leeward_waf)
leeward_fuzz(waf_inflate_fuzz.cc DEPS leeward_waf)
