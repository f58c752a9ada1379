"""A Plotly chart that keeps its zoom while data arrive.

`gr.Plot` rebuilds its node for every value; this component redraws inside its node. It loads the
plotly.js of the Python package, so nothing comes from another host.
"""

from pathlib import Path

import gradio as gr
import plotly
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"

DRAW = """
const node = element.querySelector('.live-plot');
async function draw() {
  while (!window.Plotly) await new Promise(done => setTimeout(done, 50));
  if (!props.value) return window.Plotly.purge(node);
  const figure = JSON.parse(props.value);
  figure.layout.font.color = document.body.classList.contains('dark') ? '#a8b0bd' : '#545d68';
  // A resize takes the node's height, not the figure's.
  if (figure.layout.height) node.style.height = `${figure.layout.height}px`;
  const config = {responsive: true, displaylogo: false, showSendToCloud: false};
  await window.Plotly.react(node, figure.data, figure.layout, config);
}
const isShown = () => node.data && node.offsetParent;
new ResizeObserver(() => isShown() && window.Plotly.Plots.resize(node)).observe(node);
watch('value', draw);
draw();
"""


def load_plotly() -> str:
    """HTML for a page's head that loads plotly.js from this server, at `plotly_route`."""
    return f'<script src="{PLOTLY_JS.name}"></script>'


def plotly_route() -> Route:
    """The address of plotly.js; Gradio's own would show the folder of the installation."""

    async def script(request: Request) -> FileResponse:
        return FileResponse(PLOTLY_JS, headers={"Cache-Control": "public, max-age=86400"})

    return Route(f"/{PLOTLY_JS.name}", script)


def live_plot(elem_id: str) -> gr.HTML:
    """A chart in the open block; its value is a figure as JSON, whose `uirevision` resets the zoom.

    Not a subclass of `gr.HTML`: Gradio would write a stub file beside this one.
    """
    return gr.HTML(
        html_template='<div class="live-plot"></div>',
        js_on_load=DRAW,
        head=load_plotly(),
        elem_id=elem_id,
    )
