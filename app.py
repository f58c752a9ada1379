"""Starts the page: reads the environment, builds studio and pages, launches.

ROCM_HOME is where runs are kept, ROCM_ADMIN_TOKEN allows training where others can reach the page,
ROCM_ALLOWED_HOSTS names it; GRADIO_SERVER_NAME and PORT say where it listens. ROCM_MODE=study, or
--mode study, serves user studies and nothing else. See docs/deploy.md.
"""

import argparse
import os
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvicorn
from starlette.middleware import Middleware
from starlette.routing import Mount

from rocm.errors import ConfigError, MissingDependency, RocmError
from rocm.study.server.app import PLACE, Server, alone, vote_app
from rocm.study.server.connections import Bounds, Guarded, bound_logs, guarded
from rocm.study.server.login import SETTINGS, login_of
from rocm.study.server.start import KEPT, MODES, chosen_mode, is_for_one, server_of
from rocm.ui.access import Access, access
from rocm.ui.middleware import body_limit, brief_log, hosts, only_the_page, same_host

# Each statement of a vote gives Python's lock away; the usual 5 ms until it is back would add up.
SWITCH_S = 0.0005
# Seconds for which ZeroGPU is asked at a time: fewer are granted sooner.
SLICE_S = 60


def main() -> None:
    """Serve the page until it is stopped; runs at work go on without it."""
    settings = "[GRADIO_SERVER_NAME=127.0.0.1] [PORT=7860] [ROCM_HOME=data] python app.py"
    parser = argparse.ArgumentParser(usage=f"{settings} [--mode lab|study]", description=__doc__)
    parser.add_argument("--mode", choices=MODES, default="", help="goes before ROCM_MODE")
    get = os.environ.get
    given = parser.parse_args().mode or get("ROCM_MODE", "")
    host, is_space = get("GRADIO_SERVER_NAME") or "127.0.0.1", bool(get("SPACE_ID"))
    space = {"space": get("SPACE_ID", ""), "has_login": is_space and has_login()}
    names = f"{get('ROCM_ALLOWED_HOSTS', '')},{get('SPACE_HOST', '')}".split(",")
    allowed = hosts(host, is_space, names)
    guard = same_host(allowed)
    rule = access(host, is_space, get("ROCM_ADMIN_TOKEN", "").strip())
    home = Path(os.path.expanduser(get("ROCM_HOME") or "data"))
    os.environ["ROCM_HOME"] = str(home.resolve())  # trainers, which start elsewhere, look there
    check_free(host, port := chosen_port())
    try:
        mode = chosen_mode(given or ("lab" if is_zero_gpu() else ""), rule.is_local)
        if mode == "study" and is_zero_gpu():
            raise ConfigError(
                "ZeroGPU needs the pages that use its GPU. Choose CPU hardware for a Space with "
                "ROCM_MODE=study, or unset ROCM_MODE."
            )
        check_installed(mode)
        is_proxied = is_space or get("ROCM_PROXIED") == "1"
        is_private = is_for_one(mode, rule.is_local, rule.token, any(names), is_proxied)
        login = login_of({name: get(name, "") for name in SETTINGS})
        kept = {name: get(name, "") for name in KEPT}
        votes = server_of(home, kept, is_private, is_proxied, login)
    except RocmError as error:
        raise SystemExit(str(error)) from error
    sys.setswitchinterval(SWITCH_S)
    # Or uvicorn takes visitors' addresses from any program of this machine, and Gradio lets it.
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    bounds = Bounds()
    if is_proxied:
        bounds = replace(bounds, per_address=bounds.in_all)
    protocol = guarded(bounds)
    brief_log()
    bound_logs()
    try:
        if mode == "study":
            serve_study(host, port, votes, guard, protocol)
        else:
            from rocm.ui.links import lan_address

            servers: Any = uvicorn.config.HTTP_PROTOCOLS  # of which Gradio's takes "auto"
            servers["auto"] = protocol
            rule = replace(rule, lan="" if allowed.is_checked else lan_address(), **space)
            serve_lab(host, port, home, rule, votes, guard)
    finally:
        votes.api.store.close()


def announce(mode: str, host: str, port: int) -> None:
    """Say where the page is, once it answers there."""
    print(f"ROCM Studio, {mode}: http://{host}:{port}", flush=True)


class Announced(uvicorn.Server):
    """A server that says where it listens, once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        announce("study", self.config.host, self.config.port)


def serve_study(
    host: str, port: int, votes: Server, guard: Middleware, protocol: type[Guarded]
) -> None:
    """Serve raters only; no handler that trains, draws or administers is even imported."""
    # The access log would hold addresses and, in the query, outside ids.
    config = uvicorn.Config(
        alone(votes, [guard]),
        host=host,
        port=port,
        http=protocol,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    with suppress(KeyboardInterrupt):
        Announced(config).run()


def serve_lab(
    host: str, port: int, home: Path, rule: Access, votes: Server, guard: Middleware
) -> None:
    """Serve the pages, and raters beside them."""
    from rocm.studio import Studio
    from rocm.ui.app import CLOSED, STYLE, build, theme
    from rocm.ui.launch import launch
    from rocm.ui.plot import plotly_route

    slices = zero_gpu() if is_zero_gpu() else None
    studio = Studio(home, votes=votes.api.store, backup=votes.backup, slices=slices)
    studio.runs.queue.watch()
    pages = build(studio, rule)
    parts = {
        "middleware": [guard, only_the_page(), body_limit()],
        "routes": [Mount(PLACE, vote_app(votes)), plotly_route()],
    }
    try:
        launch(pages, host, port, **CLOSED, app_kwargs=parts, theme=theme(), css_paths=STYLE)
    except RocmError as error:
        raise SystemExit(str(error)) from error
    announce("lab", host, port)
    pages.block_thread()


def has_login() -> bool:
    """Whether Gradio can sign visitors in: hf_oauth is on, and gradio[oauth], as on its Spaces."""
    variables = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
    packages = ("authlib", "itsdangerous")
    is_known = os.environ.get("SYSTEM") == "spaces"  # to Gradio
    return is_known and all(map(os.environ.get, variables)) and all(map(find_spec, packages))


def is_zero_gpu() -> bool:
    """Whether this is a Space on ZeroGPU, as its package `spaces` decides it."""
    is_there = find_spec("spaces") is not None
    return is_there and os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def zero_gpu() -> Any:
    """The functions that hold a visitor's GPU; the only case in which this process has torch."""
    import spaces  # before torch

    from rocm.cli.trainer import silence_libraries
    from rocm.generation.sliced import DRAWING_S
    from rocm.generation.worker import draw_slice
    from rocm.runs.slices import Slices
    from rocm.training.slices import train_slice

    silence_libraries()
    train = spaces.GPU(duration=SLICE_S)(train_slice)
    return Slices(train, spaces.GPU(duration=DRAWING_S)(draw_slice), SLICE_S)


def check_installed(mode: str) -> None:
    """MissingDependency for a lab where only requirements-vote.txt is installed."""
    if mode == "lab" and not find_spec("gradio"):
        raise MissingDependency(
            "A lab needs gradio, which is not installed. Run: pip install -r requirements.txt. "
            "To serve only raters, add --mode study."
        )


def chosen_port() -> int:
    """The port of PORT or GRADIO_SERVER_PORT; ends in a sentence if it is none."""
    given = os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT") or "7860"
    if not given.isdecimal() or not 1 <= int(given) <= 65535:
        raise SystemExit(f"Port {given!r} is no port. Set PORT to a whole number 1 to 65535.")
    return int(given)


def check_free(host: str, port: int) -> None:
    """End in a sentence if the page cannot listen there, before runs are started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        words = f"The page cannot listen on {host}:{port}: {error.strerror}."
        raise SystemExit(f"{words} Set PORT or GRADIO_SERVER_NAME to another one.") from error


if __name__ == "__main__":
    main()
