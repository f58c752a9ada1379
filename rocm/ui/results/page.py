"""The Results page: headline, report, downloads, and verification of a study's votes."""

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from rocm.errors import RocmError, StudyError
from rocm.study.report.loop import Loops
from rocm.study.report.results import Results, StudyResult
from rocm.ui.access import Access
from rocm.ui.figures import score_figure
from rocm.ui.handlers import QUIET, Changes, click_at_work, fault, named, note, token_box
from rocm.ui.plot import live_plot
from rocm.ui.results import view

ACTION: Any = {"scale": 0, "size": "md", "min_width": 90}
# The address keeps the study as long as the page is shown.
PUT_INTO_ADDRESS = """(study) => {
  const url = new URL(window.location.href);
  if (study && url.searchParams.get('tab') === 'results') url.searchParams.set('results', study);
  window.history.replaceState(null, '', url);
}"""


class ResultsPage:
    """The page's components and handlers; each handler asks the results, converts the answer."""

    def __init__(self, results: Results, loops: Loops, access: Access):
        """Make the components in the current Gradio block; every handler checks `access`."""
        self._results, self._loops, self._access = results, loops, access
        self._token = token_box(access, "results_token")
        with gr.Row(elem_classes="results-bar"):
            self._study = gr.Dropdown([], label="Study", elem_id="results_study")
            looks: Any = {**ACTION, "interactive": False}
            self._refresh = gr.Button("Refresh", elem_id="results_refresh", **looks)
            self._verify = gr.Button("Verify", elem_id="results_verify", **looks)
            self._prepare = gr.Button("Prepare downloads", elem_id="results_prepare", **looks)
        self._state = gr.HTML(view.NO_STUDY, elem_id="results_state")
        self._said = gr.HTML("", elem_id="results_said")
        with gr.Column(visible=False) as self._downloads:
            many: Any = {"file_count": "multiple", "interactive": False}
            self._files = gr.File(label="Downloads", elem_id="results_files", **many)
            gr.HTML(view.FILES)
        with gr.Accordion("Closed loop", visible=False, elem_id="results_loop") as self._loop:
            self._stages = gr.HTML("", elem_id="results_stages")
            self._build_loop()
        self._headline = gr.HTML("", elem_id="results_headline")
        with gr.Row(visible=False, elem_classes="results-charts") as self._charts:
            self._kept = live_plot("results_kept")
            self._all = live_plot("results_all")
        self._rules = gr.HTML("", elem_id="results_rules")
        self._report = gr.HTML("", elem_id="results_report")
        self._timer = gr.Timer(1.0, active=False)
        self._followed = gr.State("")  # chosen on the Study page when results were last entered

    def _build_loop(self) -> None:
        with gr.Row(elem_classes="results-bar"):
            info = "Learns preference:NAME from these votes, or says why they do not suffice."
            words = named("results_name", "Reward name", info)
            self._name = gr.Textbox(max_length=41, **words)
            info = "Also learns from the votes of these closed studies."
            words = named("results_others", "Earlier rounds", info)
            self._others = gr.Dropdown([], multiselect=True, **words)
            self._learn = gr.Button("Learn reward", elem_id="results_learn", **ACTION)
            self._next = gr.Button("Next round", elem_id="results_next", **ACTION)
            self._arms = gr.Button("Train arms", elem_id="results_arms", **ACTION)
            self._last = gr.Button("Build last study", elem_id="results_last", **ACTION)

    def wire(self, tab: gr.Tab, chosen: gr.State) -> None:
        """Bind the handlers; `tab` is the tab of the page, `chosen` the study to follow."""
        asked = [self._token, self._study]
        changed = [
            *(self._study, self._refresh, self._verify, self._prepare, self._state, self._said),
            *(self._downloads, self._files, self._headline, self._charts, self._kept, self._all),
            *(self._rules, self._report, self._timer, self._loop, self._stages, self._others),
        ]
        followed = [chosen, self._followed]
        entered = tab.select(self._enter, [*asked, *followed], [*changed, self._followed], **QUIET)
        typed = self._token.submit(self._choose_first, asked, changed, **QUIET)
        chosen = self._study.input(self._choose, asked, changed, **QUIET)
        for event in (entered, typed, chosen):
            event.then(None, self._study, None, js=PUT_INTO_ADDRESS)
        unbound: dict[str, Any] = {"concurrency_limit": None}
        self._refresh.click(self._count_anew, asked, changed, **QUIET)
        self._timer.tick(self._poll, asked, changed, **QUIET)
        self._verify.click(self._check, asked, self._said, **unbound)
        taught, told = [*asked, self._others, self._name], [self._said, self._stages]
        click_at_work(self._learn, "Learning votes", self._teach, taught, told, **unbound)
        self._next.click(self._go_on, [*asked, self._others], told, **unbound)
        steps = {self._arms: self._loops.train, self._last: self._loops.build_last}
        for button, step in steps.items():
            button.click(self._stepper(step), asked, told, **unbound)
        packed = [self._downloads, self._files]
        click_at_work(self._prepare, "Preparing pictures", self._pack, asked, packed, **unbound)

    def _enter(
        self, token: str, study: str | None, chosen: str, followed: str, request: gr.Request
    ) -> Changes:
        if not self._access.allows(token):
            return {self._state: view.NOT_HERE}
        is_new = chosen and chosen != followed
        wanted = chosen if is_new else study or request.query_params.get("results")
        return self._listed(wanted) | {self._followed: chosen}

    def _choose_first(self, token: str, study: str | None) -> Changes:
        self._access.check(token)
        return self._listed(study)

    def _choose(self, token: str, study: str | None) -> Changes:
        self._access.check(token)
        return self._shown(self._results.look(study)) if study else {self._timer: gr.skip()}

    def _count_anew(self, token: str, study: str | None) -> Changes:
        return self._shown(self._results.look(self._chosen(token, study), anew=True))

    def _poll(self, token: str, study: str | None) -> Changes:
        result = self._results.look(self._chosen(token, study))
        return {self._timer: gr.skip()} if result.state == "counting" else self._shown(result)

    def _check(self, token: str, study: str | None) -> str:
        return note(self._results.verify(self._chosen(token, study)), "going")

    def _teach(self, token: str, study: str | None, others: list[str], name: str) -> Changes:
        chosen = self._chosen(token, study)
        try:
            words = self._results.learn([chosen, *others], name)
        except StudyError as error:  # several sentences, too long for a message that fades
            return {self._said: fault(str(error))}
        return self._went_on(chosen, words)

    def _go_on(self, token: str, study: str | None, others: list[str]) -> Changes:
        chosen = self._chosen(token, study)
        return self._went_on(chosen, self._loops.next_round([chosen, *others]))

    def _stepper(self, step: Callable[[str], str]) -> Callable[..., Changes]:
        def go_on(token: str, study: str | None) -> Changes:
            chosen = self._chosen(token, study)
            return self._went_on(chosen, step(chosen))

        return go_on

    def _went_on(self, study: str, words: str) -> Changes:
        return {self._said: note(words, "going"), self._stages: self._stages_html(study)}

    def _stages_html(self, study: str) -> str:
        try:
            return view.loop_html(self._loops.stages(study))
        except RocmError as error:  # a damaged reward must not hide the results
            return fault(str(error))

    def _pack(self, token: str, study: str | None) -> Changes:
        files = [str(file) for file in self._results.files(self._chosen(token, study))]
        return {self._downloads: gr.update(visible=True), self._files: files}

    def _chosen(self, token: str, study: str | None) -> str:
        """The chosen study, after a check of the token."""
        self._access.check(token)
        if not study:
            raise StudyError("No study is chosen. Choose a study first.")
        return study

    def _listed(self, wanted: str | None) -> Changes:
        """The studies to choose from; the wanted study, or else the newest, is shown."""
        studies = self._results.studies()
        if not studies:
            return {self._state: view.NO_STUDY}
        study = wanted if wanted in studies else next(iter(studies))
        choices = [(label, study_id) for study_id, label in studies.items()]
        shown = self._shown(self._results.look(study))
        return shown | {self._study: gr.update(choices=choices, value=study)}

    def _shown(self, result: StudyResult) -> Changes:
        """Everything but the list of studies."""
        is_ready, is_draft = result.state == "ready", result.status == "draft"
        changes: Changes = {
            self._refresh: gr.update(interactive=not is_draft),
            self._verify: gr.update(interactive=not is_draft),
            self._prepare: gr.update(interactive=is_ready),
            self._state: view.state_html(result),
            self._said: "",
            self._downloads: gr.update(visible=False),
            self._loop: gr.update(visible=is_ready),
            self._others: gr.update(choices=self._results.rounds_beside(result.study_id), value=[]),
            self._stages: "",
            self._headline: "",
            self._charts: gr.update(visible=is_ready),
            self._rules: "",
            self._report: "",
            self._timer: gr.Timer(active=result.state == "counting"),
        }
        content = result.content
        if not content:
            return changes
        if not is_ready:
            return changes | {self._headline: view.evidence_html(content)}
        return changes | {
            **self._figures(content),
            self._stages: self._stages_html(result.study_id),
            self._headline: view.headline_html(content),
            self._rules: view.rules_line(content),
            self._report: f'<div class="paper">{result.report}</div>',
        }

    def _figures(self, content: dict[str, Any]) -> Changes:
        """Figure 3 with the exclusion rules applied, and without them if that differs."""
        results, marks = content["results"], content["marks"]
        kept = score_figure(results["outcomes"], marks, "Exclusion rules applied")
        every = score_figure(results["outcomes_of_all"], marks, "All votes")
        differs = results["num_excluded"] > 0
        return {
            self._kept: json.dumps(kept),
            self._all: gr.update(value=json.dumps(every) if differs else "", visible=differs),
        }


def build(
    results: Results, loops: Loops, access: Access, tab: gr.Tab, chosen: gr.State | None = None
) -> None:
    """Make the page in `tab`, whose selection shows a study if `access` allows results here.

    That is the study `chosen` on the Study page, if another one was chosen there since.
    """
    with gr.Column(elem_classes="right"):
        if access.may_train:
            ResultsPage(results, loops, access).wire(tab, chosen or gr.State(""))
        else:
            gr.HTML(view.NOT_HERE, elem_id="results_state")
