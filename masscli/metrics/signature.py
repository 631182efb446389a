"""What our own metrics tell sacreBLEU of themselves: a signature of their settings and of this version."""

from __future__ import annotations

from sacrebleu.metrics.base import Metric, Signature

from masscli.version import __version__


class SignedMetric(Metric):
    """A metric whose signature is what it says of itself; text is taken as it is."""

    def described(self) -> dict[str, str]:
        """The metric's own part of the signature."""
        return {}

    def get_signature(self) -> Signature:
        signature = super().get_signature()
        for key, value in self.described().items():
            signature.update(key, value)
        signature.update("version", f"masscli-{__version__}")
        return signature

    def _preprocess_segment(self, sent: str) -> str:
        return sent
