"""The application's pages and its look."""

from typing import Any

import gradio as gr
from gradio import routes
from markupsafe import Markup

from rocm.storage.paths import ROOT
from rocm.studio import Studio
from rocm.ui.access import Access
from rocm.ui.compare import page as compare_page
from rocm.ui.generate import page as generate_page
from rocm.ui.handlers import Pages
from rocm.ui.results import page as results_page
from rocm.ui.study import page as study_page
from rocm.ui.train import page as train_page

SHEETS = ("style", "generate", "compare", "study", "results")
STYLE = [ROOT / "assets" / f"{name}.css" for name in SHEETS]
# Nothing here takes a file; without a bound anybody could fill the disk through Gradio's upload.
CLOSED: dict[str, Any] = {"share": False, "run_history": False, "max_file_size": 1}
CLOSED |= {"ssr_mode": False, "footer_links": [], "enable_monitoring": False}
# Exports wait for their download: checked every hour, deleted after a day or at Ctrl-C.
KEPT_S = (3600, 86_400)
# A page has one poll pending at a time. With more waiting calls than this the server cannot catch
# up, and further visitors read that it is busy.
MAX_WAITING = 100
QUEUE_LOOK_S = 0.1
PROGRESS_LOOK_S = 0.5
# Gradio's loading notice goes on counting at every frame after it has gone: here once a second.
# What is repeated at an interval, such as its timers, waits while nobody sees the page.
FIRST = """;
const atFrame = window.requestAnimationFrame.bind(window), every = window.setInterval.bind(window);
window.requestAnimationFrame = act => /performance\\.now\\(\\)-.*1e3/.test(String(act))
  ? setTimeout(act, 1000) : atFrame(act);
window.setInterval = (act, ...rest) => every(() => document.hidden || act(), ...rest);
"""
TITLE = """
<h1>ROCM Studio</h1>
<p>Fine-tune a few-step text-to-image model directly on a reward, while a divergence keeps it
close to the base model.</p>
"""

# Tabs tell of their first selection too, before the page has loaded: it is not the reader's. Each
# page then puts its own words into the address and takes them out when another one is shown. A
# turned page is an entry of the browser's history, so that Back turns back instead of leaving.
PUT_TAB_INTO_ADDRESS = """() => {
  if (!document.body.dataset.isLoaded) return;
  const tab = document.querySelector('#pages [role=tab][aria-selected=true]');
  if (tab && tab.dataset.tabId !== '%s') return;  // turned again meanwhile
  const url = new URL(window.location.href), before = url.searchParams.get('tab') ?? 'train';
  url.searchParams.set('tab', '%s');
  if (before !== '%s') {
    url.searchParams.delete('arms');  // those of another tab
    window.history.pushState(null, '', url);
  }
  window.dispatchEvent(new Event('tab-shown'));
}"""
TAB_OF_ADDRESS = """() => {
  if (!document.body.dataset.isLoaded) window.addEventListener('popstate', () => {
    const wanted = new URLSearchParams(window.location.search).get('tab') ?? 'train';
    document.querySelector(`#pages [role=tab][data-tab-id="${CSS.escape(wanted)}"]`)?.click();
  });
  document.body.dataset.isLoaded = 'yes';
  const wanted = new URLSearchParams(window.location.search).get('tab');
  return wanted ? {__type__: 'update', selected: wanted} : {__type__: 'update'};
}"""


def build(studio: Studio, access: Access) -> gr.Blocks:
    """All pages, to be launched with `theme()` and `STYLE`.

    The Study page exists where training is allowed and the studio has a store of votes.
    """
    look = {"title": "ROCM Studio", "analytics_enabled": False, "fill_width": True}
    with Pages(**look, delete_cache=KEPT_S) as pages:
        gr.HTML(TITLE, elem_id="title")
        # Children are rendered with the page: a hidden page must take the updates of its timers.
        with gr.Tabs(elem_id="pages") as tabs:
            with gr.Tab("Train", id="train", render_children=True):
                train_page.build(studio, access, pages)
            with gr.Tab("Generate", id="generate", render_children=True):
                generate_page.build(studio.generation, studio.runs.folder, access, pages)
            with gr.Tab("Compare", id="compare", render_children=True) as compare:
                compare_page.build(studio.comparisons, access, compare)
            chosen = None
            if studio.studies and access.may_train:
                with gr.Tab("Study", id="study", render_children=True) as study:
                    chosen = study_page.build(studio.studies, studio.comparisons, access, study)
            with gr.Tab("Results", id="results", render_children=True) as results:
                results_page.build(studio.results, studio.loops, access, results, chosen)
        for tab in tabs.children:
            tab.select(None, js=PUT_TAB_INTO_ADDRESS.replace("%s", str(tab.id)))
        pages.load(None, None, tabs, js=TAB_OF_ADDRESS)
    # Their inputs are the controls of a form, in order: nothing for other programs to call.
    for handler in pages.fns.values():
        handler.api_visibility = "private"
    # Gradio's `head` is run after its modules, which by then hold the browser's own functions.
    routes.templates.env.filters["toorjson"] = _with_first
    pages.queue(max_size=MAX_WAITING)
    # Gradio looks for waiting calls a thousand times a second, for progress a hundred times: 7 %
    # of a core.
    pages._queue.sleep_when_free = QUEUE_LOOK_S
    pages._queue.progress_update_sleep_when_free = PROGRESS_LOOK_S
    return pages


def _with_first(value: Any) -> Markup:
    """JSON for Gradio's template; the page's configuration is followed by the script `FIRST`."""
    is_config = isinstance(value, dict) and "components" in value
    return routes.toorjson(value) + Markup(FIRST if is_config else "")


def theme() -> gr.themes.Base:
    """Colors and fonts; system fonts, so that nothing is loaded from elsewhere."""
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    readable = {
        "body_text_color_subdued": "*neutral_500",
        "body_text_color_subdued_dark": "*neutral_400",
        "block_info_text_color": "*neutral_500",
        "block_info_text_color_dark": "*neutral_400",
        "input_placeholder_color": "*neutral_500",
        "input_placeholder_color_dark": "*neutral_400",
        # Dark enough for white text (4.5 to 1).
        "button_primary_background_fill": "*primary_600",
        "button_primary_background_fill_hover": "*primary_700",
        "button_cancel_background_fill": "#c32f2f",
        "button_cancel_background_fill_dark": "#c32f2f",
        "button_cancel_background_fill_hover": "#a82424",
    }
    return gr.themes.Default(primary_hue="indigo", neutral_hue="slate", **fonts).set(**readable)
