"""The settings of a run, section by section; `rocm.config.RunConfig` joins them."""
