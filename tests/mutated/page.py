"""Faults in what a page lets through, and in what damaged files and odd requests lead to."""

from mutated.mutation import Mutation

SAME_HOST = "rocm/ui/same_host.py"
CALLS = "tests/ui/test_calls.py::"

MUTATIONS = [
    Mutation(
        "a foreign page may press Stop",
        SAME_HOST,
        "if method in READING or origin is None or self._is_same(origin, host):",
        "if method:",
        "tests/ui/test_same_host.py::"
        "test_a_foreign_page_may_read_what_browsers_let_it_but_change_nothing",
    ),
    Mutation(
        "any name will do",
        SAME_HOST,
        "if self.is_checked and not self._is_own(host):",
        "if self.is_checked and not host:",
        "tests/ui/test_same_host.py::"
        "test_the_server_refuses_foreign_names_and_pages_before_anything_else",
    ),
    Mutation(
        "an adapter of NaN draws",
        "rocm/models/lora.py",
        "if broken:",
        "if broken is None:",
        "tests/models/test_lora.py::test_an_adapter_that_is_not_finite_is_refused",
    ),
    Mutation(
        "a script's nonsense reaches the services",
        "rocm/ui/handlers.py",
        "    except ValidationError as error:\n        first",
        "    except KeyError as error:\n        first",
        "tests/ui/test_train_page.py::test_a_script_that_asks_for_nonsense_is_told_so",
    ),
    Mutation(
        "values of a wrong kind in the log",
        "rocm/ui/handlers.py",
        "        except ValueError as error:\n            raise",
        "        except KeyError as error:\n            raise",
        CALLS + "test_no_call_from_outside_writes_a_traceback_into_the_log[too few]",
    ),
    Mutation(
        "a handler as a public interface",
        "rocm/ui/run_actions.py",
        'api_name="export", **HIDDEN)',
        'api_name="export")',
        CALLS + "test_no_handler_of_the_pages_is_a_public_interface",
    ),
    Mutation(
        "thousands wait",
        "rocm/ui/app.py",
        "pages.queue(max_size=MAX_WAITING)",
        "pages.queue()",
        CALLS + "test_a_full_queue_takes_no_more",
    ),
    Mutation(
        "strangers learn the folder of the runs",
        "rocm/reports.py",
        "' here. List",
        "' in {self.runs}. List",
        "tests/test_services.py::test_a_run_id_from_outside_cannot_leave_the_runs_folder[none]",
    ),
    Mutation(
        "a folder named before its files are on the disk",
        "rocm/training/files.py",
        "            _sync(file)\n",
        "            file.stat()\n",
        "tests/training/test_run_dir.py::"
        "test_a_folders_files_are_on_the_disk_before_it_gets_its_name",
    ),
    Mutation(
        "an address may draw any number of runs",
        "rocm/ui/train_page.py",
        "tuple(overlay[: MAX_RUNS - 1])",
        "tuple(overlay)",
        "tests/ui/test_train_page.py::test_the_address_compares_no_more_runs_than_the_charts_hold",
    ),
    Mutation(
        "a run without a checkpoint cannot be resumed",
        "rocm/cli_train.py",
        "train(run, bool(run.checkpoints()), ranks)",
        "train(run, True, ranks)",
        "tests/training/test_loop.py::"
        "test_after_a_failure_before_the_first_checkpoint_resume_begins_anew",
    ),
    Mutation(
        "a prompt taken for a flag",
        "rocm/drawing/picture.py",
        'picture.prompt.startswith("-")',
        "not picture.prompt",
        "tests/drawing/test_picture.py::test_the_command_line_says_everything_about_the_picture",
    ),
    Mutation(
        "all of the adapter before the base model",
        "rocm/drawing/sampler.py",
        "yield from _in_turns(arms[first : first + MAX_ADAPTERS], size)",
        "yield from arms[first : first + MAX_ADAPTERS]",
        "tests/drawing/test_sampler.py::test_base_and_adapter_take_turns_so_that_pairs_come_early",
    ),
    Mutation(
        "one damaged plan hides all sweeps",
        "rocm/sweep.py",
        "    except RunError:  # said where the sweep is looked at; it must not hide the others\n"
        "        return 0.0",
        "    except MissingFile:\n        return 0.0",
        "tests/test_sweep.py::test_a_damaged_plan_is_one_sentence_and_hides_no_other",
    ),
    Mutation(
        "what a browser kept is taken as it is",
        "rocm/ui/train_form.py",
        "if name in forms.FIELDS and forms.fits(name, one)",
        "if name in forms.FIELDS",
        "tests/ui/test_train_page.py::test_a_form_that_a_browser_kept_comes_back_as_far_as_it_fits",
    ),
]
