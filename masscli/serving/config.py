"""The options of `masscli serve`. Nothing heavy is imported here, so that help answers quickly."""

from __future__ import annotations

from typing import Literal

from masscli.core.config import check, config, positive

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine for itself, by which a server may always be called."""


@config
class ServeConfig:
    """Address, limits and text of `masscli serve`."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every network of the machine, and whoever reaches it may use it."""
    port: int = 5000
    """Port to listen on; 0 takes a free one, which is printed."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which the server may be called (Host header), besides that of --host and the local ones;
    *.example.org is all below a domain, * every name. Repeatable."""
    max_text_length: int = 10_000
    """Most characters of the texts of a request; more are refused with status 413."""
    max_body_bytes: int = 200_000
    """Most bytes in the body of a request; of a longer one no more is read (413)."""
    max_queue: int = 2000
    """Most requests that wait; further ones are refused with status 429, and so are those whose answers are
    expected later than --request-seconds."""
    request_seconds: float = 60.0
    """Most seconds from a request to its answer; after them the answer is status 504."""
    batch_characters: int = 20_000
    """Most characters of the requests that are translated together; fewer if that would take longer than a
    quarter of --request-seconds."""
    stop_seconds: float = 10.0
    """On SIGTERM or Ctrl-C, go on for so many seconds with requests that have arrived; those that still wait
    then are refused (503), as new ones are."""
    split_sentences: bool = True
    """Split lines into sentences, and join their translations."""
    keep_placeholders: bool = True
    """Let placeholders, tags and addresses ({name}, %s, <b>, https://...) pass unchanged."""
    precision: Literal["auto", "bf16", "fp16", "fp32", "int8"] = "auto"
    """Arithmetic, as in `masscli generate`."""
    backend: Literal["torch", "ctranslate2"] = "torch"
    """What computes, as in `masscli generate`."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""

    def __post_init__(self) -> None:
        check(
            *positive(
                self,
                "max_text_length",
                "max_body_bytes",
                "max_queue",
                "request_seconds",
            ),
            *positive(self, "batch_characters"),
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
