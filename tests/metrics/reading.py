"""Metrics as Prometheus reads them: by prometheus-client's own parser."""

from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from queuectl import QueueEngine
from queuectl.metrics import render

# Metrics that count, and so never fall.
COUNTING: Final = ("_total", "_bucket", "_count", "_sum")

Samples = dict[str, float]


def parse(exposition: bytes) -> Samples:
    """Return the samples by name and labels, as ``queuectl_jobs{state="dead"}``."""
    samples: Samples = {}

    for family in text_string_to_metric_families(exposition.decode()):
        assert family.type != "unknown"
        assert family.documentation

        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in samples
            samples[key] = sample.value

    return samples


async def scrape(engine: QueueEngine) -> Samples:
    """Return what Prometheus would read now."""
    return parse(await render(engine))


def counters(samples: Samples) -> Samples:
    """Return those that never fall."""
    return {
        key: value for key, value in samples.items() if key.partition("{")[0].endswith(COUNTING)
    }
