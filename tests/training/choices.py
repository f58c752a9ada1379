"""Settings under which every part of each algorithm is used by a run of a few small updates."""

# Two prompts share their pictures between updates, so that a resumed run needs the old rewards.
RLCM = {"algorithm": "rlcm", "pictures_per_prompt": 4, "prompt_min_count": 2}
RLCM |= {"inner_epochs": 2, "clip_range": 1e-3}
REBEL = {**RLCM, "policy_loss": "rebel", "rebel_eta": 2.0}
D3PO = {"algorithm": "d3po", "pictures_per_prompt": 2, "inner_epochs": 2, "clip_range": 0.1}
DPOK = {"algorithm": "dpok", "inner_epochs": 2, "clip_range": 1e-3, "value_epochs": 2}
HYBRID = {"algorithm": "hybrid", "pictures_per_prompt": 2}
HYBRID |= {"reward": "colorfulness+0.01*incompressibility"}
ALGORITHMS: dict[str, dict] = {"rocm": {}, "rlcm": RLCM, "rebel": REBEL}
ALGORITHMS |= {"d3po": D3PO, "dpok": DPOK, "hybrid": HYBRID}
