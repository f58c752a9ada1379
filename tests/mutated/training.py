"""Faults in what happens around an update: runs, queue, charts, charts' rows."""

from mutated.mutation import Mutation

TWO_APPS = (
    "tests/test_queue.py::"
    "test_two_apps_share_a_queue_that_outlives_them_and_trains_one_run_at_a_time"
)
SPLIT = (
    "tests/training/test_ranks.py::test_a_batch_split_over_two_processes_gives_the_update_of_one"
)
RANKS = "tests/training/test_ranks.py::"

MUTATIONS = [
    Mutation(
        "a gradient beyond float16 ends the run",
        "rocm/training/loop.py",
        "scaler.get_scale() >= 1",
        "False",
        "tests/training/test_loop.py::test_an_update_beyond_float16_is_left_out_and_a_run_ends_when_"
        "scaling_does_not_help[1024-3]",
    ),
    Mutation(
        "earlier rewards forgotten on resume",
        "rocm/training/checkpoint.py",
        'self.statistics.load_state_dict(state.get("statistics", {}))',
        "self.statistics.load_state_dict({})",
        "tests/training/test_loop.py::test_resumed_equals_straight_through_bit_for_bit[rlcm]",
    ),
    Mutation(
        "all waiting runs at once",
        "rocm/queue.py",
        "if any(run.status().is_active for run in self._unsettled()):",
        "if not self.waiting():",
        TWO_APPS,
    ),
    Mutation(
        "a zombie called alive",
        "rocm/training/liveness.py",
        "return is_same and process.status() != psutil.STATUS_ZOMBIE",
        "return is_same",
        "tests/training/test_run_dir.py::"
        "test_a_killed_trainer_reads_as_interrupted_at_once_even_as_a_zombie",
    ),
    Mutation(
        "normal for Student's interval",
        "rocm/intervals.py",
        "return STUDENT[freedom - 1]",
        "return 1.96",
        "tests/test_intervals.py::test_an_interval_of_two_values_is_the_written_out_one",
    ),
    Mutation(
        "a chart keeps rows that a resumed run has dropped",
        "rocm/training/feed.py",
        'if first and not (rows and rows[0]["time"] == after.time):',
        "if first and not rows:",
        "tests/training/test_feed.py::test_rows_dropped_by_a_resumed_run_are_sent_again",
    ),
    Mutation(
        "every process draws the same pictures",
        "rocm/training/batch.py",
        "first = ((step - 1) * ranks.size + ranks.rank) * num",
        "first = (step - 1) * ranks.size * num",
        f"{SPLIT}[rocm]",
    ),
    Mutation(
        "gradients of processes added up, not averaged",
        "rocm/training/ranks.py",
        "flat /= self.size",
        "flat /= 1",
        f"{SPLIT}[rocm]",
    ),
    Mutation(
        "a prompt compared with its pictures of one process",
        "rocm/training/policy_update.py",
        "known = setup.ranks.gather((own, rewards.cpu()))",
        "known = [(own, rewards.cpu())] * setup.ranks.size",
        f"{SPLIT}[rlcm]",
    ),
    Mutation(
        "each process has a value of its own",
        "rocm/training/policy_update.py",
        "        setup.ranks.average_gradients(list(critic.value.parameters()))\n",
        "",
        f"{SPLIT}[dpok]",
    ),
    Mutation(
        "a run is made that its processes cannot share",
        "rocm/cli_train.py",
        "    ranks.local(config)  # no run is made that cannot be shared\n",
        "",
        f"{RANKS}test_a_run_that_cannot_be_shared_is_refused_before_anything_is_written[config]",
    ),
    Mutation(
        "accelerate's one process in place of several trains by itself",
        "rocm/training/ranks.py",
        'if {"ACCELERATE_MIXED_PRECISION", "MASTER_PORT"} <= environment.keys():',
        "if not environment.keys():",
        f"{RANKS}test_what_a_launcher_has_left_out_is_named[accelerate-cpu]",
    ),
    Mutation(
        "every process of a launcher runs the whole of any command",
        "rocm/cli.py",
        "if options.word not in SHARED and num_started() > 1:",
        "if options.word in SHARED and num_started() > 1:",
        f"{RANKS}test_a_command_that_processes_cannot_share_is_refused_where_several_were_started"
        "[words1]",
    ),
]
