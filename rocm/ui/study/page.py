"""The Study page: build a study, look through it, open it, send its link, watch it.

Every handler asks `access` first: what a study's pairs and figures are is nobody else's business.
"""

from collections.abc import Callable
from dataclasses import fields
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from rocm.errors import ConfigError, RocmError, StudyError
from rocm.evaluation.store import Comparisons
from rocm.study.service import Look, Recipe, StudyDesk
from rocm.ui.access import Access
from rocm.ui.compare.form import arm_choices
from rocm.ui.handlers import HIDDEN, QUIET, in_words, told
from rocm.ui.study import view as study_view
from rocm.ui.study.form import Form, OpenedFile, build_form, wish
from rocm.ui.study.parts import ChosenStudy, View, bin_choices, build_view
from rocm.ui.study.screening import Screening

MAX_TEXT = 200_000
BASE = "() => new URL('.', window.location.href.split(/[?#]/)[0]).href"
RUNNING = ("open", "paused")
FROZEN = (*RUNNING, "closed")
# Which buttons and boxes there are in which state.
SHOWN = {
    "delete": ("unfinished", "draft"),
    "draft_box": ("draft",),
    "open": ("draft",),
    "pilot": ("draft", *RUNNING),
    "link": RUNNING,
    "pause": ("open",),
    "resume": ("paused",),
    "invite_box": ("draft", *RUNNING),
    "running_box": RUNNING,
    "close": RUNNING,
    "pack": FROZEN,
}


def build(desk: StudyDesk, arms: Comparisons, access: Access, tab: gr.Tab) -> None:
    """Make the page.

    Args:
        desk: the studies.
        arms: that knows what can be compared.
        access: the token that every handler asks for.
        tab: that the page stands in; its first selection opens the study of the address.
    """
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=1, min_width=320, elem_classes="left"):
            token = gr.Textbox(
                label="Admin token",
                info="ROCM_ADMIN_TOKEN where the app was started.",
                type="password",
                visible=bool(access.token),
                elem_id="study_token",
            )
            demo = gr.Button("Build the demo study", variant="primary", elem_id="study_demo")
            form = build_form(arms)
        with gr.Column(scale=3, min_width=320, elem_classes="right"):
            view, buttons, screening = build_view(token, access)
    handlers = Handlers(desk, arms, access, form, view, screening)
    handlers.wire(tab, buttons | {"demo": demo})


class Handlers:
    """The page's handlers; each asks `access`, then the desk, and converts its answer."""

    def __init__(
        self,
        desk: StudyDesk,
        arms: Comparisons,
        access: Access,
        form: Form,
        view: View,
        screening: Screening,
    ) -> None:
        """Bind the parts of one page.

        Args:
            desk: to ask.
            arms: that knows what can be compared.
            access: that allows.
            form: of a new study.
            view: right column.
            screening: pairs to look through.
        """
        self._desk, self._arms, self._access = desk, arms, access
        self._form, self._view, self._screening = form, view, screening

    def wire(self, tab: gr.Tab, buttons: dict[str, gr.Button]) -> None:
        """Bind the handlers to their events."""
        view, form = self._view, self._form
        base = gr.Textbox(visible="hidden", label="Address", container=False)
        self._at = [view.token, view.selected, base]
        self._all = [getattr(view, one.name) for one in fields(View)]
        self._screening.wire(self._desk, self._access, view.token, view.selected, view.phase)
        tab.select(None, None, base, js=BASE, api_visibility="private").then(
            self._enter, [view.token, view.selected, base], self._all, **QUIET
        )
        everything = {"inputs": [*self._at, view.seen], "outputs": self._all, **QUIET}
        gr.on([view.timer.tick, view.token.change], self._poll, **everything)
        view.studies.choose(in_words(self._choose), [view.token, base], self._all, **QUIET)
        self._on(buttons["demo"], lambda _, *__: self._desk.demo(), [], "study_demo")
        self._on(form.build, self._build, form.controls, "study_build")
        self._on(form.build_text, self._build_text, [form.text], "study_build_text")
        self._on(view.go_on, self._go_on, [], "study_go_on")
        self._on(view.cancel, lambda one: self._desk.cancel(one), [], "study_cancel")
        for name in ("pause", "resume"):
            act = getattr(self._desk, name)
            self._on(getattr(view, name), lambda one, act=act: act(one), [], f"study_{name}")
        self._on(view.restore, self._take_back, [view.deleted], "study_restore")
        view.bin.expand(self._look_into_bin, view.token, view.deleted, **QUIET)
        for name in ("open", "close", "more", "delete", "empty", "invite"):
            number = view.num_invited if name == "invite" else view.num_more
            asking = {"inputs": [*self._at, number], "outputs": self._all}
            getattr(view, name).click(in_words(self._asker(name)), **asking, **QUIET)
        self._on(buttons["sure"], self._agreed, [view.pending], "study_sure")
        buttons["not_now"].click(lambda: gr.update(visible=False), None, view.question, **QUIET)
        self._wire_texts()

    def _wire_texts(self) -> None:
        view, form = self._view, self._form
        named = {"api_visibility": "private"}
        asked = [view.token, view.selected, view.seconds, view.pay]
        view.foresee.click(in_words(self._foresee), asked, view.outlook, **named)
        view.pack.click(in_words(self._pack), [view.token, view.selected], view.archive, **named)
        texts = [form.text, form.ways, form.box]
        view.as_new.click(in_words(self._as_new), [view.token, view.selected], texts, **QUIET)
        form.as_text.click(in_words(self._as_text), [view.token, *form.controls], texts, **QUIET)
        form.file.read(in_words(_read), None, form.text, **QUIET)
        form.file.too_large(in_words(_too_large), None, None, **QUIET)
        arms = form.wishes["arms"]
        arms.focus(lambda: gr.update(choices=arm_choices(self._arms)), None, arms, **QUIET)

    def _on(
        self, button: gr.Button, act: Callable[..., Any], more: list[Component], name: str
    ) -> None:
        """A press acts on the study that is looked at.

        A text that `act` returns is looked at instead; a dictionary is what else changes.
        """

        def handle(token: str, selected: str, base: str, *values: Any) -> dict[Component, Any]:
            self._access.check(token)
            found = act(selected, *values)
            shown = self._shown(found if isinstance(found, str) else selected, base)
            return shown | {
                self._view.question: gr.update(visible=False),
                self._view.deleted: bin_choices(self._desk.deleted()),
                **(found if isinstance(found, dict) else {}),
            }

        asked, named = [*self._at, *more], HIDDEN | {"api_name": name}
        button.click(in_words(handle), asked, self._all, **named)

    # Looking

    def _enter(
        self, token: str, selected: str, base: str, request: gr.Request
    ) -> dict[Component, Any]:
        wanted = selected or request.query_params.get("study", "")
        timer = {self._view.timer: gr.Timer(active=True)}
        if not self._access.allows(token):
            return self._locked() | timer
        known = [one.study_id for one in self._desk.studies()]
        if wanted and wanted not in known:
            gr.Warning(escape(f"There is no study '{wanted[:40]}' here."))
        first = wanted if wanted in known else next(iter(known), "")
        return self._shown(first, base) | timer

    def _choose(self, token: str, base: str, event: gr.EventData) -> dict[Component, Any]:
        if not self._access.allows(token):
            return self._locked()
        hidden = dict.fromkeys(
            (self._view.question, self._view.invitations), gr.update(visible=False)
        )
        return self._shown(told(event, ChosenStudy).study, base) | hidden

    def _poll(
        self, token: str, selected: str, base: str, seen: tuple[Any, ...]
    ) -> dict[Component, Any]:
        if not self._access.allows(token):
            return self._locked() if seen else {self._view.seen: ()}
        changes = self._shown(selected, base, seen)
        # What was chosen while this poll was on its way stays chosen; the next poll shows it.
        changes.pop(self._view.selected, None)
        return changes

    def _locked(self) -> dict[Component, Any]:
        view = self._view
        names = (*SHOWN, "as_new", "cancel", "go_on", "question", "invitations")
        hidden = {getattr(view, name): gr.update(visible=False) for name in names}
        return hidden | {
            view.studies: study_view.NO_LIST,
            view.state: study_view.NO_TOKEN,
            view.phase: "",
            view.seen: (),
        }

    def _shown(self, selected: str, base: str, seen: tuple[Any, ...] = ()) -> dict[Component, Any]:
        """The page with a study looked at; nothing but what is new since `seen`."""
        view = self._view
        studies = self._desk.studies()
        try:
            look = self._desk.look(selected) if selected else None
        except StudyError:  # deleted since the list was drawn
            look, selected = None, ""
        listed = study_view.study_list(studies, selected)
        nothing = study_view.NOT_CHOSEN if studies else ""
        text = study_view.panel(look) if look else nothing
        state = look.state if look else ""
        key = (selected, state, listed, text, _is_at_work(look))
        if key == seen:
            return {view.seen: gr.skip()}
        changes = {view.selected: selected, view.studies: listed, view.state: text, view.seen: key}
        if not seen or (selected, state, _is_at_work(look)) != (*seen[:2], seen[4]):
            changes |= self._controls(look, base)
        return changes

    def _controls(self, look: Look | None, base: str) -> dict[Component, Any]:
        view = self._view
        state, is_at_work = look.state if look else "", _is_at_work(look)
        changes: dict[Component, Any] = {
            getattr(view, name): gr.update(visible=state in states and not is_at_work)
            for name, states in SHOWN.items()
        }
        changes |= {
            view.cancel: gr.update(visible=is_at_work),
            view.go_on: gr.update(visible=state == "unfinished" and not is_at_work),
            view.as_new: gr.update(visible=bool(look)),
            view.phase: f"{look.about.study_id} {state}" if look else "",
            view.archive: gr.update(visible=False),
        }
        if look:
            address = _address(base, look.about.study_id)
            is_open_to_all = state in RUNNING and not look.num_invited
            changes[view.link] = gr.update(value=address, visible=is_open_to_all)
            if look.about.is_demo:
                changes[view.invite_box] = gr.update(visible=False)
            changes[view.pilot] = gr.update(
                value=f"{address}?pilot", visible=state in SHOWN["pilot"] and not is_at_work
            )
        return changes

    def _look_into_bin(self, token: str) -> Any:
        found = self._desk.deleted() if self._access.allows(token) else []
        return bin_choices(found)

    # Acting

    def _build(self, _: str, *values: Any) -> str:
        return self._desk.build(self._desk.recipe_of(wish(values)))

    def _build_text(self, _: str, text: str) -> str:
        if not (text or "").strip():
            raise ConfigError("There is no study.yaml. Paste one, open a file, or use the form.")
        return self._desk.build(Recipe.parse(text[:MAX_TEXT]))

    def _go_on(self, selected: str) -> None:
        self._desk.go_on(selected)

    def _take_back(self, _: str, study_id: str | None) -> str:
        if not study_id:
            raise StudyError("No draft is chosen. Open the bin, choose one, then take it back.")
        self._desk.take_back(study_id)
        return study_id

    def _invite(self, study_id: str, num: int, base: str) -> dict[Component, Any]:
        place = _address(base, study_id)
        links = [f"{place}#invite={code}" for code in self._desk.invite(study_id, num)]
        words = {
            "label": f"Invitations to {study_id}",
            "info": "One for each rater. Copy them now: only their hashes are stored.",
        }
        return {self._view.invitations: gr.update(value="\n".join(links), visible=True, **words)}

    def _asker(self, name: str) -> Callable[..., dict[Component, Any]]:
        def ask(token: str, selected: str, base: str, num: Any) -> dict[Component, Any]:
            self._access.check(token)
            words = getattr(self, f"_ask_{name}")(selected, num)
            view = self._view
            return {
                view.question: gr.update(visible=True),
                view.asked: escape(words),
                view.pending: (name, selected, num, base),
            }

        return ask

    def _ask_open(self, selected: str, _: Any) -> str:
        now = self._desk.look(selected).now
        return (
            f"Open the study with {now.num_pairs} pairs, {now.num_struck} struck? Its manifest is "
            "then frozen: nothing of its design can be changed any more."
        )

    def _ask_close(self, selected: str, _: Any) -> str:
        now = self._desk.look(selected).now
        words = study_view.effect(self._desk.widths(selected, 0))
        return f"Close for good, with {now.num_open_places} places open? {words}"

    def _ask_more(self, selected: str, num: Any) -> str:
        more = _whole(num)
        words = study_view.effect(self._desk.widths(selected, more), more)
        return (
            f"Plan work for {more} more raters? Pairs then have unequal numbers of votes. {words}"
        )

    def _ask_delete(self, selected: str, _: Any) -> str:
        num = self._desk.look(selected).now.num_pilots
        pilots = f" The votes of its pilots ({num}) are deleted for good." if num else ""
        return f"Move the draft to the bin? It can be taken back from there.{pilots}"

    def _ask_empty(self, selected: str, _: Any) -> str:
        num = len(self._desk.deleted())
        if not num:
            raise StudyError("The bin is empty.")
        return f"Delete what is in the bin, {num} in number, for good? This cannot be undone."

    def _ask_invite(self, selected: str, num: Any) -> str:
        words = f"Make {_whole(num)} invitation links?"
        if self._desk.look(selected).num_invited:
            return words
        return f"{words} Nobody else but pilots comes in then, and that cannot be undone."

    def _agreed(self, selected: str, pending: tuple[str, str, Any, str]) -> Any:
        """Do what was asked about, to the study that it was asked about."""
        name, study_id, num, base = pending
        if name == "open":
            gr.Info(f"Open. Manifest: {self._desk.open(study_id)}")
        elif name == "close":
            self._desk.close(study_id)
        elif name == "delete":
            self._desk.delete(study_id)
        elif name == "empty":
            self._desk.empty_bin()
        elif name == "invite":
            return self._invite(study_id, _whole(num), base)
        elif name == "more":
            gr.Info(f"{self._desk.add_raters(study_id, _whole(num))} more votes are planned.")
        return study_id or selected

    def _foresee(self, token: str, selected: str, seconds: Any, pay: Any) -> str:
        self._access.check(token)
        return study_view.outlook(self._desk.outlook(selected, seconds or 0, pay or 0))

    def _pack(self, token: str, selected: str) -> Any:
        self._access.check(token)
        path = self._desk.pack(selected)
        words = f"Download {path.stat().st_size / 1e6:.1f} MB"
        return gr.update(value=str(path), label=words, visible=True)

    def _as_new(self, token: str, selected: str) -> tuple[Any, ...]:
        self._access.check(token)
        return _shown_text(self._desk.recipe_text(selected))

    def _as_text(self, token: str, *values: Any) -> tuple[Any, ...]:
        self._access.check(token)
        return _shown_text(self._desk.recipe_of(wish(values)).text())


def _address(base: str, study_id: str) -> str:
    return f"{base}{study_view.VOTES}/{study_id}"


def _is_at_work(look: Look | None) -> bool:
    return bool(look and look.building and look.building.state == "drawing")


def _whole(number: Any) -> int:
    try:
        return int(number)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{number!r} is no number of raters. Give 1 to 1000.") from error


def _shown_text(text: str) -> tuple[Any, ...]:
    """A study.yaml where it can be edited: the box is open, and its tab is in front."""
    return text, gr.update(selected="text"), gr.update(open=True)


def _read(event: gr.EventData) -> str:
    return told(event, OpenedFile).text[:MAX_TEXT]


def _too_large() -> None:
    raise RocmError("The file is larger than 200 kB. A study.yaml is a short text.")
