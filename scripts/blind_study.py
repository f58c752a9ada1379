"""A blind study of base model, RLCM and ROCM whose simulated raters vote over HTTP.

    python -m scripts.blind_study --work artifacts/blind-study [--raters 24]

The raters do what a browser does: they join, agree, download both pictures of a pair, wait, and
answer by taste (docs/math.md), each with a palate and noise of their own. They see no arm. The
study is closed at the end; its report is written beside it, and the printed table has taste's own
win rate on the same pictures: the share of prompts where the first arm's picture has more taste.
"""

import argparse
import io
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image
from sqlalchemy import select

from rocm.algorithms.intervals import Interval, interval
from rocm.cli.study import StudyHome, draw_study, study_home
from rocm.cli.tasters import read_pixels
from rocm.rewards.raters import TEMPERATURE, TIE_WIDTH, palates, utilities
from rocm.rewards.taste import load_drawings, load_taste
from rocm.study.design import lifecycle
from rocm.study.design.recipe import Recipe
from rocm.study.report.cells import p_value, percent, span
from rocm.study.report.stored import study_report
from rocm.study.store.tables import arm, image, prompt
from scripts.page_times import app_process

ARMS = ("base", "tiny-rlcm", "tiny-rocm-kl")
NUM_PROMPTS, PAIRS_EACH = 70, 60
THINKING_S = 1.5
SEED = 0


def recipe(num_raters: int) -> Recipe:
    """Three arms on prompts of the embedded model, everything else as usual."""
    arms = [{"name": name, "adapter": f"assets/adapters/{name}"} for name in ARMS[1:]]
    consent = {
        "version": "1", "text": "Simulated raters.", "contact": "nobody", "min_age": 0,
        "ethics": "none, no people take part", "pay": "unpaid", "retention": "unlimited",
    }  # fmt: skip
    values = {"title": "Simulated raters over HTTP", "seed": SEED, "consent": consent}
    values |= {"arms": [{"name": ARMS[0]}, *arms], "prompts": {"set": "own", "num": NUM_PROMPTS}}
    votes = num_raters * PAIRS_EACH // (NUM_PROMPTS * len(ARMS))
    return Recipe.load(values | {"votes_per_pair": votes, "main_per_rater": PAIRS_EACH})


class Rater:
    """A person with a palate, at the other end of a connection."""

    def __init__(self, address: str, study_id: str, number: int, palate: torch.Tensor) -> None:
        self._client = httpx.Client(base_url=f"{address}study/", timeout=120)
        self._study, self._palate = study_id, palate
        self._rng = np.random.default_rng([SEED, number])

    def work(self) -> int:
        """Work through the study; the number of pairs answered."""
        told = self._get(f"api/{self._study}").json()
        names = [question["key"] for question in told["questions"]]
        joined = self._post(f"api/{self._study}/join", {"source": "simulated"})
        self._client.headers["Authorization"] = f"Bearer {joined['token']}"
        self._post("api/consent", {"version": told["consent"]["version"]})
        step, num_answered = self._post("api/trial", {}), 0
        while (trial := step["trial"]) is not None:
            shown = time.monotonic()
            self._post("api/shown", {"trial": trial["id"]})
            felt = self._felt(trial)
            time.sleep(THINKING_S)
            took = int(1000 * (time.monotonic() - shown))
            side = "tie" if abs(felt) < TIE_WIDTH else "left" if felt > 0 else "right"
            answers = {name: {"side": side, "rt_ms": took} for name in names}
            step = self._post("api/vote", {"trial": trial["id"], "answers": answers})
            num_answered += 1
        return num_answered

    def _felt(self, trial: dict[str, Any]) -> float:
        """Taste of the left picture minus that of the right one, with noise, in temperatures."""
        pictures = [self._get(trial[side]).content for side in ("left", "right")]
        pixels = [np.array(Image.open(io.BytesIO(data)).convert("RGB")) for data in pictures]
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
        captions = [trial["prompt"]] * 2
        left, right = utilities(images, captions, load_drawings(), self._palate[None])[0].tolist()
        return (left - right) / TEMPERATURE + self._rng.logistic()

    def _get(self, path: str) -> httpx.Response:
        return self._answered("GET", path, None)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._answered("POST", path, body).json()

    def _answered(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        while True:
            answer = self._client.request(method, path, json=body)
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return answer.raise_for_status()
            time.sleep(int(answer.headers["Retry-After"]))


def wait_until_up(address: str) -> None:
    """Wait for the app's first answer."""
    while True:
        try:
            httpx.get(address, timeout=60)
            return
        except httpx.TransportError:
            time.sleep(0.5)


def tastes(at: StudyHome, study_id: str) -> dict[str, dict[int, float]]:
    """Taste of every picture by the gold palate, by arm and prompt."""
    chosen = (
        select(image.c.picture_id, arm.c.name, prompt.c.id, prompt.c.text)
        .join(prompt, prompt.c.id == image.c.prompt_id)
        .join(arm, arm.c.id == image.c.arm_id)
        .where(image.c.study_id == study_id)
    )
    found: dict[str, dict[int, float]] = defaultdict(dict)
    taste = load_taste()
    with at.store.database.read() as connection:
        for row in connection.execute(chosen):
            pixels = read_pixels(at.pictures, row.picture_id)[None]
            found[row.name][row.id] = taste(pixels, [row.text]).item()
    return found


def words(of: Interval | None, scale: int) -> str:
    """Mean and interval, times a scale."""
    if of is None or of.low is None or of.high is None:
        return "-"
    return f"{scale * of.mean:.2f} ({scale * of.low:.2f} to {scale * of.high:.2f})"


def table(at: StudyHome, study_id: str) -> str:
    """Win rates of the votes with their intervals, beside taste's own, as Markdown."""
    liked, report = tastes(at, study_id), study_report(at.store, study_id)
    lines = ["| pair | votes for the first | p | taste for the first, % | difference of taste |"]
    lines.append("|---|---|---|---|---|")
    arms = {each.name: (each.arm_a, each.arm_b) for each in report.info.comparisons}
    for outcome in report.analysis.outcomes:
        if outcome.question != "overall":
            continue
        first, second = arms[outcome.comparison]
        gains = [liked[first][key] - value for key, value in liked[second].items()]
        wins = [float(np.sign(gain) + 1) / 2 for gain in gains]
        share, gap = interval(wins, "prompts"), interval(gains, "prompts")
        votes = f"{percent(outcome.score)} ({span(outcome.interval)})"
        truth = f"{words(share, 100)} | {words(gap, 1)}"
        lines.append(
            f"| {first} against {second} | {votes} | {p_value(outcome.p_value)} | {truth} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Build, vote, close, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("artifacts/blind-study"))
    parser.add_argument("--raters", type=int, default=24)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with study_home(options.work, creates=True) as at:
        study_id = draw_study(at, recipe(options.raters))
        lifecycle.open_study(at.store, study_id)
        with app_process(options.work) as (_, address), ThreadPoolExecutor(options.raters) as pool:
            wait_until_up(address)
            people = enumerate(palates(options.raters, seed=SEED + 1))
            raters = [Rater(address, study_id, *person) for person in people]
            numbers = list(pool.map(Rater.work, raters))
        print(f"{sum(numbers)} pairs answered by {len(numbers)} raters")
        lifecycle.close(at.store, study_id)
        study_report(at.store, study_id).write(options.work / "report")
        print(table(at, study_id))


if __name__ == "__main__":
    main()
