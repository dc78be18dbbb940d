leeward_fuzz(record_json_fuzz.cc DEPS leeward_model)
leeward_fuzz(agent_report_json_fuzz.cc DEPS leeward_model)
leeward_fuzz(waf_expression_fuzz.cc DEPS leeward_model)
