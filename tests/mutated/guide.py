"""Faults in what a newcomer meets first: cards, downloads, the page of the paper's runs."""

from mutated.mutation import Mutation

MUTATIONS = [
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
        "except (TransportError, OSError, ValueError) as error:",
        "except (OSError, ValueError) as error:",
        "tests/models/test_export.py::test_an_upload_without_a_network_is_one_sentence",
    ),
    Mutation(
        "guide: the rewards of a preset's judge are not named",
        "rocm/cli_models.py",
        '*config.judge.split(",")]',
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
