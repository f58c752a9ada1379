"""Starts the page: reads the environment, builds services and pages, launches.

ROCM_HOME is where runs are kept, ROCM_ADMIN_TOKEN allows training where others can reach the page,
ROCM_ALLOWED_HOSTS names it; GRADIO_SERVER_NAME and PORT say where it listens. See docs/deploy.md.
"""

import argparse
import os
import socket
from pathlib import Path

from rocm.services import Services
from rocm.ui.access import access
from rocm.ui.app import CLOSED, STYLE, build, theme
from rocm.ui.same_host import hosts, same_host


def main() -> None:
    """Serve the page until it is stopped; runs at work go on without it."""
    settings = "[GRADIO_SERVER_NAME=127.0.0.1] [PORT=7860] [ROCM_HOME=data] python app.py"
    argparse.ArgumentParser(usage=settings, description=__doc__).parse_args()
    get = os.environ.get
    host, is_space = get("GRADIO_SERVER_NAME") or "127.0.0.1", bool(get("SPACE_ID"))
    names = f"{get('ROCM_ALLOWED_HOSTS', '')},{get('SPACE_HOST', '')}".split(",")
    check_free(host, port := chosen_port())
    services = Services(Path(os.path.expanduser(get("ROCM_HOME") or "data")))
    services.watch_queue()
    rule = access(host, is_space, get("ROCM_ADMIN_TOKEN", "").strip())
    print(f"ROCM Studio: http://{host}:{port}", flush=True)
    build(services, rule).launch(
        server_name=host,
        server_port=port,
        quiet=True,
        **CLOSED,
        app_kwargs={"middleware": [same_host(hosts(host, is_space, names))]},
        theme=theme(),
        css_paths=STYLE,
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
