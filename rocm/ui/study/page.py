"""The Study page: build a study, check its pairs, open it, send its link, watch it."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency
from pydantic import BaseModel, ValidationError

from rocm.errors import ConfigError, RocmError, StudyError
from rocm.evaluation.store import Comparisons
from rocm.runs.adapters import BASE
from rocm.study.design import lifecycle
from rocm.study.design.form import form_recipe
from rocm.study.design.recipe import Recipe
from rocm.study.service import Studies, StudyDetails
from rocm.study.store.invitations import invite
from rocm.ui.access import Access
from rocm.ui.compare.form import arm_choices
from rocm.ui.controls import Kept
from rocm.ui.handlers import QUIET, Changes, click_at_work, offered, token_box, told
from rocm.ui.links import qr_code, reachable
from rocm.ui.study import view
from rocm.ui.study.form import StudyForm
from rocm.ui.study.panel import ACTIONS, RUNNING, ChosenStudy, bin_choices, build_panel
from rocm.ui.study.questions import QUESTIONS, whole

MAX_TEXT = 200_000
ADDRESS = "() => new URL('.', window.location.href.split(/[?#]/)[0]).href"
# The states in which a button or box is shown.
SHOWN = {name: states for name, (*_, states) in ACTIONS.items()} | {
    "draft_box": ("draft",),
    "pilot": ("draft", *RUNNING),
    "link": RUNNING,
    "invite_box": ("draft", *RUNNING),
    "running_box": RUNNING,
}


class Pending(BaseModel):
    """What the visitor was asked: an action, its study, a number, and the page's address."""

    action: str
    study: Any
    num: Any
    base: Any


class OpenedFile(BaseModel):
    """A file that the browser has read."""

    text: str


def build(studies: Studies, compare: Comparisons, access: Access, tab: gr.Tab) -> Kept:
    """Make the page in `tab`, whose first selection shows the study of the address.

    Returns the id of the study that is shown.
    """
    page = StudyPage(studies, compare, access)
    page.wire(tab)
    return page.selected


class StudyPage:
    """The page's components and handlers; each checks `access`, asks a part of the study."""

    def __init__(self, studies: Studies, compare: Comparisons, access: Access) -> None:
        """Make the components in the open block; a new study has arms that `compare` knows."""
        self._studies, self._compare, self._access = studies, compare, access
        with gr.Column(elem_classes="page right"):
            token = token_box(access, "study_token")
            with gr.Row(elem_classes="buttons"):
                self._demo = gr.Button("Build demo study", variant="primary", elem_id="study_demo")
            self._form = StudyForm(compare, studies)
            self._panel = build_panel(studies, token, access)
        self._base = gr.Textbox(visible="hidden", label="Address", container=False)
        self.selected: Kept = self._panel["selected"]
        self._at = [token, self.selected, self._base]

    def wire(self, tab: gr.Tab) -> None:
        """Bind the handlers to their events."""
        panel, form, at, builds = self._panel, self._form, self._at, self._studies.builds
        token, everything = panel["token"], {"outputs": list(panel.values()), **QUIET}
        entered = {**everything, "outputs": [*panel.values(), form.fields["arms"], form.box]}
        tab.select(None, None, self._base, js=ADDRESS).then(self._enter, at, **entered)
        token.change(self._enter, at, **entered)  # the study of the address, now allowed
        panel["watch"].tick(self._poll, [*at, panel["seen"]], **everything)
        panel["studies"].choose(self._choose, [token, self._base], **everything)
        self._on(self._demo, "study_demo", lambda _: self._studies.demo())
        built = self._on(form.build, "study_build", self._build, list(form.fields.values()))
        of_text = self._on(form.build_text, "study_build_text", self._build_text, [form.text])
        for begun in (built, of_text):  # the form makes room for what is built
            begun.success(lambda: gr.update(open=False), None, form.box, **QUIET)
        self._on(panel["go_on"], "study_go_on", builds.resume)
        self._on(panel["cancel"], "study_cancel", builds.cancel)
        for name, step in (("pause", lifecycle.pause), ("resume", lifecycle.resume)):
            act = lambda study_id, step=step: step(self._studies.store, study_id)  # noqa: E731
            self._on(panel[name], f"study_{name}", act)
        self._on(panel["restore"], "study_restore", self._restore, [panel["deleted"]])
        panel["bin"].expand(self._look_into_bin, token, panel["deleted"], **QUIET)
        for name in QUESTIONS:
            num = panel["num_invited"] if name == "invite" else panel["num_more"]
            panel[name].click(self._asker(name), [*at, num], **everything)
        self._on(panel["sure"], "study_sure", self._confirmed, [panel["pending"]])
        panel["not_now"].click(lambda: gr.update(visible=False), None, panel["question"], **QUIET)
        self._wire_texts()

    def _wire_texts(self) -> None:
        panel, form = self._panel, self._form
        chosen = self._at[:2]
        archive = [panel["archive"]]
        click_at_work(panel["pack"], "Packing pictures", self._pack, chosen, archive)
        texts = [form.text, form.tabs, form.box]
        panel["as_new"].click(self._as_new, chosen, texts, **QUIET)
        fields = [panel["token"], *form.fields.values()]
        form.as_text.click(self._as_text, fields, texts, **QUIET)
        form.file.read(_read, None, form.text, **QUIET)
        form.file.too_large(_too_large, None, None, **QUIET)
        form.cost.follow_form(form.fields, self._access, panel["token"], form.box)
        arms = form.fields["arms"]
        arms.focus(lambda: gr.update(choices=arm_choices(self._compare)), None, arms, **QUIET)

    def _on(
        self, button: gr.Button, name: str, act: Callable[..., Any], more: Sequence[Component] = ()
    ) -> Dependency:
        """A click acts on the selected study; a text is a study to show, a dictionary changes."""

        def handle(token: str, selected: str, base: str, *values: Any) -> Changes:
            self._access.check(token)
            result = act(selected, *values)
            shown = self._shown(result if isinstance(result, str) else selected, base)
            return shown | {
                self._panel["question"]: gr.update(visible=False),
                self._panel["deleted"]: bin_choices(self._studies.bin.drafts()),
                **(result if isinstance(result, dict) else {}),
            }

        outputs = list(self._panel.values())
        return button.click(handle, [*self._at, *more], outputs, api_name=name)

    # Looking

    def _enter(self, token: str, selected: str, base: str, request: gr.Request) -> Changes:
        wanted = selected or request.query_params.get("study", "")
        if not self._access.allows(token):
            return self._locked()
        known = [info.study_id for info in self._studies.store.studies()]
        if wanted and wanted not in known:
            gr.Warning(escape(f"There is no study '{wanted[:40]}' here."))
        first = wanted if wanted in known else next(iter(known), "")
        arms = request.query_params.get("arms")
        if not arms:
            return self._shown(first, base)
        # The form of a new study, open, with a run's arm against the base model.
        chosen = gr.update(choices=arm_choices(self._compare), value=[BASE, *arms.split(",")])
        form = {self._form.fields["arms"]: chosen, self._form.box: gr.update(open=True)}
        return self._shown(first, base) | form

    def _choose(self, token: str, base: str, event: gr.EventData) -> Changes:
        if not self._access.allows(token):
            return self._locked()
        boxes = (self._panel["question"], self._panel["invitations"])
        hidden = dict.fromkeys(boxes, gr.update(visible=False))
        return self._shown(told(event, ChosenStudy).study, base) | hidden

    def _poll(self, token: str, selected: str, base: str, seen: tuple[Any, ...]) -> Changes:
        nothing = {self._panel["seen"]: gr.skip()}
        if not base:  # before `_enter`
            return nothing
        if not self._access.allows(token):
            return self._locked() if seen else {self._panel["seen"]: ()}
        if seen and seen[0] != selected:  # another study was chosen since this was asked
            return nothing
        return self._shown(selected, base, seen)

    def _locked(self) -> Changes:
        panel = self._panel
        names = (*SHOWN, "as_new", "question", "invitations")
        return {panel[name]: gr.update(visible=False) for name in names} | {
            panel["studies"]: view.NO_LIST,
            panel["state"]: view.NO_TOKEN,
            panel["phase"]: "",
            panel["seen"]: (),
            panel["qr"]: "",
        }

    def _shown(self, selected: str, base: str, seen: tuple[Any, ...] = ()) -> Changes:
        """The page with the selected study; only what is new since `seen`."""
        panel = self._panel
        statuses = self._studies.statuses()
        try:
            study = self._studies.details(selected) if selected else None
        except StudyError:  # deleted since the list was shown
            study, selected = None, ""
        listed = view.study_list(statuses, selected)
        text = view.details(study) if study else view.NOT_CHOSEN if statuses else ""
        state = study.state if study else ""
        key = (selected, state, listed, text)
        if key == seen:
            return {panel["seen"]: gr.skip()}
        changes = {
            panel["selected"]: selected,
            panel["studies"]: listed,
            panel["state"]: text,
            panel["seen"]: key,
        }
        if (selected, state) != seen[:2]:
            changes |= self._controls(study, base)
        return changes

    def _controls(self, study: StudyDetails | None, base: str) -> Changes:
        panel = self._panel
        state = study.state if study else ""
        visible = {name: state in states for name, states in SHOWN.items()}
        visible |= {"as_new": study is not None, "archive": False}
        if study:
            visible["link"] = state in RUNNING and not study.num_invited
            visible["invite_box"] = visible["invite_box"] and not study.info.is_demo
        changes: Changes = {panel[name]: gr.update(visible=is_) for name, is_ in visible.items()}
        changes[panel["phase"]] = f"{study.info.study_id} {state}" if study else ""
        if study:
            address = self._address(base, study.info.study_id)
            changes[panel["link"]] = gr.update(value=address, visible=visible["link"])
            changes[panel["qr"]] = qr_code(address) if visible["link"] else ""
            pilot = f"{address}?pilot"
            changes[panel["pilot"]] = gr.update(value=pilot, visible=visible["pilot"])
        return changes

    def _address(self, base: str, study_id: str) -> str:
        """The voting link, where raters reach it."""
        return f"{reachable(base, self._access.lan)}{view.VOTES}/{study_id}"

    def _look_into_bin(self, token: str) -> Any:
        return bin_choices(self._studies.bin.drafts() if self._access.allows(token) else [])

    # Acting

    def _recipe(self, values: tuple[Any, ...]) -> Recipe:
        fields = dict(zip(self._form.fields, values, strict=True))
        return form_recipe(fields, self._studies.home)

    def _build(self, _: str, *values: Any) -> str:
        return self._studies.builds.start(self._recipe(values))

    def _build_text(self, _: str, text: str) -> str:
        if not (text or "").strip():
            raise ConfigError("There is no study.yaml. Paste one, open a file, or use the form.")
        return self._studies.builds.start(Recipe.parse(text[:MAX_TEXT]))

    def _restore(self, _: str, study_id: str | None) -> str:
        if not study_id:
            raise StudyError("No draft is chosen. Open the bin and choose a draft to restore.")
        self._studies.bin.take_out(study_id)
        return study_id

    def _asker(self, name: str) -> Callable[..., Changes]:
        def ask(token: str, selected: str, base: str, num: Any) -> Changes:
            self._access.check(token)
            panel = self._panel
            pending = Pending(action=name, study=selected, num=num, base=base)
            return {
                panel["asked"]: escape(QUESTIONS[name](self._studies, selected, num)),
                panel["question"]: gr.update(visible=True),
                panel["pending"]: pending.model_dump_json(),
            }

        return ask

    def _confirmed(self, selected: str, pending: str) -> Any:
        """Do the pending action, to the study that the question was about."""
        try:
            asked = Pending.model_validate_json(pending)
        except ValidationError as error:
            raise StudyError("Nothing was asked. Press the button again.") from error
        name, study_id, num, base = vars(asked).values()
        studies = self._studies
        if name == "open":
            gr.Info(f"The study is open. Manifest: {studies.open(study_id)}")
        elif name == "close":
            lifecycle.close(studies.store, study_id)
        elif name == "delete":
            studies.delete(study_id)
        elif name == "empty":
            studies.bin.empty()
        elif name == "invite":
            return self._invite(study_id, whole(num), base)
        elif name == "more":
            votes = lifecycle.add_raters(studies.store, study_id, whole(num))
            gr.Info(f"Additional pairs to judge: {votes}.")
        return study_id or selected

    def _invite(self, study_id: str, num: int, base: str) -> Changes:
        codes = invite(self._studies.store, study_id, num)
        links = "\n".join(f"{self._address(base, study_id)}#invite={code}" for code in codes)
        label = f"Invitations to {study_id}"
        info = "One link per rater. Copy the links now: they are not stored."
        shown = gr.update(value=links, visible=True, label=label, info=info)
        return {self._panel["invitations"]: shown}

    def _pack(self, token: str, selected: str) -> Any:
        self._access.check(token)
        return offered(self._studies.pack(selected))

    def _as_new(self, token: str, selected: str) -> tuple[Any, ...]:
        self._access.check(token)
        return _shown_text(self._studies.builds.recipe(selected).text())

    def _as_text(self, token: str, *values: Any) -> tuple[Any, ...]:
        self._access.check(token)
        return _shown_text(self._recipe(values).text())


def _shown_text(text: str) -> tuple[Any, ...]:
    """A study.yaml in its text box: the box is open, and its tab is in front."""
    return text, gr.update(selected="text"), gr.update(open=True)


def _read(event: gr.EventData) -> str:
    return told(event, OpenedFile).text[:MAX_TEXT]


def _too_large() -> None:
    raise RocmError("The file is larger than 200 kB. Open a study.yaml.")
