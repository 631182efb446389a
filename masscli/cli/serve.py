"""Answer translation requests over HTTP, and show a web page.

Each RUN is a run or a checkpoint that was trained to generate text; a request chooses one by name. The
default is the latest run under runs. The API is compatible with LibreTranslate: POST /translate, GET
/languages; in addition, GET /models, /health and /metrics. The web page is at /. SIGHUP reloads the
models; SIGTERM or Ctrl-C ends the server after it has answered the requests that have arrived. This needs
the extra `serve`: pip install 'masscli[serve]'.

Examples:
  masscli serve runs/ende
  masscli serve runs/ende runs/deen --port 8080 --beam 3
  masscli serve runs/ende --host 0.0.0.0 --allowed-hosts translate.example.org
  curl -d q="A dog runs." -d source=en -d target=de http://127.0.0.1:5000/translate
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from masscli.cli.latest_run import latest_run
from masscli.cli.search_options import GivenSearch
from masscli.cli.unused_options import check_changed_options
from masscli.core.config import UnusedOption
from masscli.core.errors import MasscliError
from masscli.core.memory import tune_heap
from masscli.generation.config import GenerationConfig
from masscli.serving.config import ServeConfig


def run(
    command: ServeConfig,
    search: GenerationConfig,
    given: Annotated[dict[str, Any], GivenSearch],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Runs or checkpoints to offer."),
    ] = None,
) -> None:
    """Serve models over HTTP until the process is told to stop."""
    try:
        from masscli.serving.server import run_server
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise MasscliError(
            "masscli serve needs starlette and uvicorn", "pip install 'masscli[serve]'"
        ) from None
    check_changed_options(
        search,
        UnusedOption(True, "nbest", "each request says how many alternatives it wants"),
        UnusedOption(True, "prefix_size", "there is no --prefix here", True),
    )
    unused = UnusedOption(
        not search.sampling, "seed", "nothing is drawn without --sampling"
    )
    check_changed_options(command, unused)
    tune_heap()
    run_server(paths or [latest_run("serve")], command, given)
