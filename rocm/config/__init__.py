"""Every setting of a run, section by section, and `RunConfig`, which joins them."""

from rocm.config.run_config import RunConfig as RunConfig
