"""The options of `masscli serve`. This module imports nothing heavy, so that --help is fast."""

from __future__ import annotations

from typing import Literal

from masscli.core.config import check, config, not_negative, positive

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""Local names of this machine, which are always allowed as host names."""


@config
class ServeConfig:
    """Address, limits and text of `masscli serve`."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 listens on all networks of the machine, so that everyone on them
    can use it."""
    port: int = 5000
    """Port to listen on; 0 chooses a free one, which is printed."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names that requests may use (Host header), in addition to --host and the local ones;
    *.example.org allows all names below a domain, and * every name. Repeatable."""
    max_text_length: int = 10_000
    """Maximum number of characters in the texts of a request; more are refused with status 413."""
    max_body_bytes: int = 200_000
    """Maximum number of bytes in the body of a request; a longer one is not read to its end (413)."""
    max_queue: int = 2000
    """Maximum number of waiting requests; further ones are refused with status 429, and so are those
    whose answers are expected later than --request-seconds."""
    request_seconds: float = 60.0
    """Maximum number of seconds from a request to its answer; after that, the answer is status 504."""
    batch_characters: int = 20_000
    """Maximum number of characters in the requests that are translated together; fewer if that would
    take longer than a quarter of --request-seconds."""
    stop_seconds: float = 10.0
    """On SIGTERM or Ctrl-C, keep answering requests that have arrived for this many seconds; those
    still waiting after that are refused (503), as new ones are."""
    split_sentences: bool = True
    """Split lines into sentences, and join their translations."""
    keep_placeholders: bool = True
    """Leave placeholders, tags and URLs ({name}, %s, <b>, https://...) unchanged."""
    precision: Literal["auto", "bf16", "fp16", "fp32", "int8"] = "auto"
    """Precision, as in `masscli generate`."""
    backend: Literal["torch", "ctranslate2"] = "torch"
    """Decoding engine, as in `masscli generate`."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""
    seed: int = 1
    """Seed of --sampling: equal texts get equal answers, whatever else is asked."""

    def __post_init__(self) -> None:
        check(
            # The system would take an empty name for every network of the machine.
            (
                bool(self.host.strip()),
                "host",
                "must not be empty; 0.0.0.0 is every network",
            ),
            *positive(
                self,
                "max_text_length",
                "max_body_bytes",
                "max_queue",
                "request_seconds",
            ),
            *positive(self, "batch_characters"),
            *not_negative(self, "seed"),
            (
                self.stop_seconds >= 0,
                "stop_seconds",
                f"must not be negative, got {self.stop_seconds}",
            ),
            (
                all(map(_is_host, self.allowed_hosts)),
                "allowed_hosts",
                "expected names, *.NAME or *",
            ),
            (
                0 <= self.port < 65536,
                "port",
                f"must lie between 0 and 65535, got {self.port}",
            ),
        )


def _is_host(pattern: str) -> bool:
    """Return whether a pattern of --allowed-hosts is valid: a name, *.NAME for all names below it, or *."""
    name = pattern.removeprefix("*.")
    return pattern == "*" or (bool(name) and "*" not in name)
