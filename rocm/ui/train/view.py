"""A run as HTML. Text written by a user or a model is escaped."""

from contextlib import suppress
from html import escape
from pathlib import Path
from time import localtime, strftime
from typing import Any
from urllib.parse import urlencode

from rocm.config import RunConfig
from rocm.runs.engines.base import Job
from rocm.runs.names import short_id
from rocm.runs.reports import RunPace, RunReport
from rocm.storage.numbers import duration
from rocm.ui.handlers import fault

DOT = " \N{MIDDLE DOT} "
NOTHING_YET = """<strong>No run yet.</strong> Choose a preset and press <em>Start training</em>.
Reward and divergence appear here during training, with pictures of the same prompts before and
after."""
NOTHING_TO_SHOW = "There is no run yet."
NOTHING_CHOSEN = '<div class="subtle">Choose a run from the list above.</div>'
# Warnings for which a larger beta is a remedy.
HACKED = {"hacking", "collapse", "saturation"}
MOST_STEPS = 4
BEFORE = {
    "queued": "waiting",
    "submitted": "waiting for a machine",
    "starting": "loading the model",
}
STRENGTHS = "0.25,0.5,0.75,1"  # of the adapter of a run that is turned down
NO_PREVIEWS = "Pictures of fixed prompts appear after the first evaluation."


def state_line(report: RunReport, pace: RunPace, config: RunConfig, log: str) -> str:
    """Name, state, progress, speed, settings and, after a failure, error and end of the log."""
    status = report.status
    share = 100 * status.step / max(status.num_steps, 1)
    lines = [
        f'<div class="state"><strong>{escape(report.name)}</strong>'
        f'<span class="badge {status.state}">{status.state}</span>'
        f"<span>{escape(progress(report, pace))}</span></div>",
        f'<div class="bar {status.state}"><i style="width:{share:.1f}%"></i></div>',
        f'<div class="settings">{escape(settings(config))}</div>',
    ]
    if report.note:
        lines.append(f'<div class="settings">{escape(report.note)}</div>')
    if status.error:
        lines.append(fault(status.error))
    if status.state in ("failed", "interrupted", "lost") and log:
        lines.append(
            f"<details><summary>End of the log</summary><pre>{escape(log)}</pre></details>"
        )
    return "\n".join(lines)


def job_line(job: Job | None) -> str:
    """The job of a run that an engine trains, its last word, and the script that it was given."""
    if job is None:
        return ""
    words = DOT.join(filter(None, [job.label, job.word]))
    with suppress(OSError):  # the script was deleted
        script = escape(Path(job.script).read_text(encoding="utf-8"))
        return f"<details><summary>{escape(words)}</summary><pre>{script}</pre></details>"
    return f'<div class="settings">{escape(words)}</div>'


def warnings(run_id: str, pace: RunPace) -> str:
    """A line for every kind of warning of a run, and the checkpoint to use instead, as HTML."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for warning in pace.warnings:
        kinds.setdefault(warning["warning"], []).append(warning)
    lines = []
    for many in kinds.values():
        steps = ", ".join(str(warning["step"]) for warning in many[-MOST_STEPS:])
        lines.append(f"<p>Update {steps}: {escape(many[-1]['message'])}</p>")
    if HACKED.isdisjoint(kinds):
        return "".join(lines)
    step, remedy = pace.best_step, "No checkpoint is better than the base model on the judge."
    if step:
        adapter = f"{run_id}@{step}"
        remedy = lead(f"Use step {step} in Generate", tab="generate", adapter=f"run:{adapter}")
    return "".join(lines) + f'<p class="remedy">{remedy}</p>'


def leads(run_id: str, may_train: bool) -> str:
    """Where a run with an adapter leads on, as links."""
    run = f"run:{run_id}"
    links = [
        lead("Generate", tab="generate", adapter=run),
        lead("Compare with base", tab="compare", arms=run),
        lead("Turn down", tab="compare", arms=run, strengths=STRENGTHS),
    ]
    if may_train:
        links.append(lead("Add to a study", tab="study", arms=run))
    return f'<p class="leads">{" ".join(links)}</p>'


def lead(words: str, **query: str) -> str:
    """A link to a page with `query` in its address."""
    return f'<a class="lead" href="?{escape(urlencode(query))}">{escape(words)}</a>'


def progress(report: RunReport, pace: RunPace) -> str:
    """State, updates done, time left and speed, in one line."""
    status = report.status
    words = [f"update {status.step} of {status.num_steps}"]
    if status.state in BEFORE:
        words = [BEFORE[status.state]]
    elif status.state == "running" and not pace.is_measured:
        words = ["drawing pictures of the base model"]
    elif status.state == "stopping" and status.step:
        words.append("stopping after this update")
    elif status.state == "stopping":
        words = ["stopping before the first update"]
    elif status.state == "running" and pace.seconds_left is not None:
        words.append(f"{duration(pace.seconds_left)} left")
    if pace.images_per_s:
        words.append(f"{pace.images_per_s:.1f} pictures/s")
    return DOT.join(words)


def objective(config: RunConfig) -> str:
    """The objective: the reward minus the weighted divergence."""
    if not config.has_penalty:
        return config.reward
    weight = f"{config.beta_words} \N{MULTIPLICATION SIGN} {config.divergence}"
    return f"{config.reward} \N{MINUS SIGN} {weight}"


def settings(config: RunConfig) -> str:
    """The settings that tell runs apart, in one line."""
    batch = config.batch_size * config.gradient_accumulation
    rate = f"learning rate {config.learning_rate:g}"
    if config.lr_end_factor != 1:
        rate += f" to {config.learning_rate * config.lr_end_factor:g}"
    others = [f"N {config.num_inference_steps}", rate, f"batch {batch}", f"seed {config.seed}"]
    return DOT.join([objective(config), *others])


def told_scores(config: RunConfig) -> list[str]:
    """Rewards whose values stand under each picture: the trained ones and the judge."""
    trained = [part.rpartition("*")[2].strip() for part in config.reward.split("+")]
    return [*trained, *([config.judge] if config.judge else [])]


def origin(report: RunReport) -> str:
    """Moment, short id and the objective, in one line."""
    moment = strftime("%d %b %H:%M", localtime(report.created))
    swept = ["sweep"] if report.sweep else []
    aim = [objective(report.config)] if report.config else []
    return DOT.join([*swept, moment, short_id(report.run_id), *aim])


def place(report: RunReport) -> str:
    """Updates done, or the place in the queue."""
    if report.position is not None:
        return f"number {report.position + 1} in the queue"
    where = f" at {report.status.engine.capitalize()}" if report.status.engine else ""
    return f"{report.status.step} / {report.status.num_steps}{where}"
