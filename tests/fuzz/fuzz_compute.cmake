leeward_fuzz(placeholder_fuzz.cc DEPS leeward_compute)
leeward_fuzz(process_output_fuzz.cc DEPS leeward_compute)
leeward_fuzz(notify_fuzz.cc DEPS leeward_compute)
leeward_fuzz(prometheus_text_fuzz.cc DEPS leeward_compute)
