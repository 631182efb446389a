"""What masscli's own metrics add to sacreBLEU's signature: their settings, and the version of masscli."""

from __future__ import annotations

from sacrebleu.metrics.base import Metric, Signature

from masscli.version import __version__


class SignedMetric(Metric):
    """The base class of metrics that add their own fields to the signature. Text is compared as it is."""

    def signature_fields(self) -> dict[str, str]:
        """Return the signature fields that describe the settings of the metric."""
        return {}

    def get_signature(self) -> Signature:
        """Return sacreBLEU's signature with the metric's settings and the version."""
        signature = super().get_signature()
        for key, value in self.signature_fields().items():
            signature.update(key, value)
        signature.update("version", f"masscli-{__version__}")
        return signature

    def _preprocess_segment(self, sent: str) -> str:
        return sent
