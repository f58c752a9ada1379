"""Faults in what a newcomer meets first: cards, downloads, the page of the paper's runs."""

from mutated.mutation import Mutation

MUTATIONS = [
    Mutation(
        "guide: a card of 12 GB computes in a format that does not fit it",
        "presets/hardware/12gb.yaml",
        "precision: bf16",
        "precision: fp16",
        "tests/scripts/test_paper_runs.py::"
        "test_every_overlay_computes_in_the_format_that_is_counted_and_in_which_it_fits_the_card",
    ),
    Mutation(
        "guide: bfloat16 is refused on no card",
        "rocm/acceleration.py",
        "and capability < BFLOAT16_SINCE:",
        "and capability < 0:",
        "tests/test_estimate.py::test_a_card_without_bfloat16_is_said",
    ),
    Mutation(
        "guide: one picture at once is expected to be as fast as one of four",
        "rocm/estimate.py",
        "besides = CALL_PICTURES if",
        "besides = 0.0 if",
        "tests/test_estimate.py::test_a_call_of_the_embedded_model_costs_more_than_its_pictures",
    ),
    Mutation(
        "guide: without a divergence no reference is expected",
        "rocm/estimate.py",
        "FORWARD_SHARE * (num - num_kept_of_reference)",
        "FORWARD_SHARE * (num - num_kept_of_reference) * (config.beta > 0)",
        "tests/test_estimate.py::test_time_goes_with_pictures_and_passes",
    ),
    Mutation(
        "guide: a card for one picture takes no pairs",
        "rocm/hardware.py",
        "for n in range(1, pictures + 1) if",
        "for n in range(1, most + 1) if",
        "tests/test_hardware.py::"
        "test_an_algorithm_of_pairs_keeps_them_on_a_card_for_one_picture[12gb-2]",
    ),
    Mutation(
        "guide: no network is a traceback",
        "rocm/hub.py",
        "except (TransportError, OSError, *FOREIGN) as error:",
        "except (OSError, ValueError) as error:",
        "tests/models/test_export.py::test_an_upload_without_a_network_is_one_sentence",
    ),
    Mutation(
        "guide: the rewards of a preset's judge are not named",
        "rocm/cli_models.py",
        ", config.judge]",
        "]",
        "tests/test_cli.py::test_a_presets_download_names_the_rewards_that_are_missing",
    ),
    Mutation(
        "guide: launching does not hold a run up",
        "scripts/paper_runs.py",
        "batch_s = max(",
        "batch_s = min(",
        "tests/scripts/test_paper_runs.py::test_hours_are_those_of_a_hand_calculation",
    ),
]
