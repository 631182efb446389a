"""The signature of masscli's own metrics: sacreBLEU's, plus their settings and the version of masscli."""

from __future__ import annotations

from sacrebleu.metrics.base import Metric, Signature

from masscli.version import __version__


class SignedMetric(Metric):
    """The base class of masscli's own metrics, whose signature has fields for their settings.

    Text is compared as it is: sacreBLEU's preprocessing of lines is switched off.
    """

    def signature_fields(self) -> dict[str, str]:
        """Return the settings of the metric for its signature, by key; none unless a subclass has some."""
        return {}

    def get_signature(self) -> Signature:
        """Return sacreBLEU's signature with the metric's settings and the version of masscli added."""
        signature = super().get_signature()
        for key, value in self.signature_fields().items():
            signature.update(key, value)
        # It replaces the version of sacreBLEU, which does not compute the metric.
        signature.update("version", f"masscli-{__version__}")
        return signature

    def _preprocess_segment(self, sent: str) -> str:
        """Return the line unchanged; sacreBLEU calls this on every line."""
        return sent
