"""A durable queue for shell commands, as an asyncio library and a command line."""

from importlib import import_module
from typing import TYPE_CHECKING

# Importing queuectl imports nothing else: a name is fetched from its home when
# it is first used, so that a program pays only for what it needs.
if TYPE_CHECKING:
    from queuectl.engine.api import QueueEngine
    from queuectl.engine.config import Config
    from queuectl.engine.dlq import DeadLetterQueue
    from queuectl.engine.domain.activity import BOUNDS, Activity, Classes, Point, Spread, Totals
    from queuectl.engine.domain.durations import (
        format_duration,
        format_time,
        parse_duration,
        parse_time,
    )
    from queuectl.engine.domain.escaping import escape_json, escape_line, escape_text
    from queuectl.engine.domain.events import Event, EventKind
    from queuectl.engine.domain.findings import Finding, Verdict
    from queuectl.engine.domain.job_json import JobInput, parse_job, parse_jobs
    from queuectl.engine.domain.looks import Cause, DatabaseInfo, JobPage
    from queuectl.engine.domain.models import (
        Attempt,
        Job,
        OnCrash,
        OutcomeKind,
        WorkerInfo,
        WorkerState,
    )
    from queuectl.engine.domain.records import (
        ActivityRecord,
        AttemptRecord,
        CauseRecord,
        DatabaseRecord,
        EventRecord,
        FindingRecord,
        JobDetailRecord,
        JobRecord,
        SpreadRecord,
        StatusRecord,
        WorkerRecord,
        attempt_record,
        cause_record,
        database_record,
        event_record,
        finding_record,
        job_detail_record,
        job_record,
        status_record,
        worker_record,
    )
    from queuectl.engine.domain.settings import SETTINGS, Setting
    from queuectl.engine.domain.sizes import parse_size
    from queuectl.engine.domain.spec import JobSpec
    from queuectl.engine.domain.states import TERMINAL, JobState
    from queuectl.engine.domain.stats import QueueStats
    from queuectl.engine.domain.webhook_records import (
        DeliveryRecord,
        JobMessage,
        NewWebhookRecord,
        WebhookRecord,
        WebhookTestRecord,
        delivery_record,
        new_webhook_record,
        webhook_record,
        webhook_test_record,
    )
    from queuectl.engine.domain.webhooks import (
        Delivery,
        DeliveryState,
        NewWebhook,
        Webhook,
        WebhookTest,
    )
    from queuectl.engine.errors import (
        ConfigError,
        DeliveryNotFoundError,
        DeliveryStateError,
        DuplicateJobError,
        EngineClosedError,
        EventsPrunedError,
        ExtraMissingError,
        InvalidInputError,
        InvalidJobError,
        InvalidValueError,
        JobNotFoundError,
        JobStateError,
        LeftoverProcessError,
        OutputMissingError,
        QueueCtlError,
        RunNotFoundError,
        SchemaVersionError,
        StoreBusyError,
        StoreDamagedError,
        StoreError,
        StoreReplacedError,
        StoreUnusableError,
        WaitTimeoutError,
        WebhookNotFoundError,
        WorkerNotFoundError,
        WorkerStateError,
    )
    from queuectl.engine.runtime.doctor.look import diagnose
    from queuectl.engine.runtime.paths import default_database
    from queuectl.engine.store.base import CheckReport
    from queuectl.engine.webhooks import Webhooks

__version__ = "0.1.0"

_HOMES = {
    "queuectl.engine.api": ("QueueEngine",),
    "queuectl.engine.config": ("Config",),
    "queuectl.engine.dlq": ("DeadLetterQueue",),
    "queuectl.engine.domain.activity": (
        "BOUNDS",
        "Activity",
        "Classes",
        "Point",
        "Spread",
        "Totals",
    ),
    "queuectl.engine.domain.durations": (
        "format_duration",
        "format_time",
        "parse_duration",
        "parse_time",
    ),
    "queuectl.engine.domain.escaping": ("escape_json", "escape_line", "escape_text"),
    "queuectl.engine.domain.events": ("Event", "EventKind"),
    "queuectl.engine.domain.findings": ("Finding", "Verdict"),
    "queuectl.engine.domain.job_json": ("JobInput", "parse_job", "parse_jobs"),
    "queuectl.engine.domain.looks": ("Cause", "DatabaseInfo", "JobPage"),
    "queuectl.engine.domain.models": (
        "Attempt",
        "Job",
        "OnCrash",
        "OutcomeKind",
        "WorkerInfo",
        "WorkerState",
    ),
    "queuectl.engine.domain.records": (
        "ActivityRecord",
        "AttemptRecord",
        "CauseRecord",
        "DatabaseRecord",
        "EventRecord",
        "FindingRecord",
        "JobDetailRecord",
        "JobRecord",
        "SpreadRecord",
        "StatusRecord",
        "WorkerRecord",
        "attempt_record",
        "cause_record",
        "database_record",
        "event_record",
        "finding_record",
        "job_detail_record",
        "job_record",
        "status_record",
        "worker_record",
    ),
    "queuectl.engine.domain.settings": ("SETTINGS", "Setting"),
    "queuectl.engine.domain.sizes": ("parse_size",),
    "queuectl.engine.domain.spec": ("JobSpec",),
    "queuectl.engine.domain.states": ("TERMINAL", "JobState"),
    "queuectl.engine.domain.stats": ("QueueStats",),
    "queuectl.engine.domain.webhook_records": (
        "DeliveryRecord",
        "JobMessage",
        "NewWebhookRecord",
        "WebhookRecord",
        "WebhookTestRecord",
        "delivery_record",
        "new_webhook_record",
        "webhook_record",
        "webhook_test_record",
    ),
    "queuectl.engine.domain.webhooks": (
        "Delivery",
        "DeliveryState",
        "NewWebhook",
        "Webhook",
        "WebhookTest",
    ),
    "queuectl.engine.errors": (
        "ConfigError",
        "DeliveryNotFoundError",
        "DeliveryStateError",
        "DuplicateJobError",
        "EngineClosedError",
        "EventsPrunedError",
        "ExtraMissingError",
        "InvalidInputError",
        "InvalidJobError",
        "InvalidValueError",
        "JobNotFoundError",
        "JobStateError",
        "LeftoverProcessError",
        "OutputMissingError",
        "QueueCtlError",
        "RunNotFoundError",
        "SchemaVersionError",
        "StoreBusyError",
        "StoreDamagedError",
        "StoreError",
        "StoreReplacedError",
        "StoreUnusableError",
        "WaitTimeoutError",
        "WebhookNotFoundError",
        "WorkerNotFoundError",
        "WorkerStateError",
    ),
    "queuectl.engine.runtime.doctor.look": ("diagnose",),
    "queuectl.engine.runtime.paths": ("default_database",),
    "queuectl.engine.store.base": ("CheckReport",),
    "queuectl.engine.webhooks": ("Webhooks",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BOUNDS",
    "SETTINGS",
    "TERMINAL",
    "Activity",
    "ActivityRecord",
    "Attempt",
    "AttemptRecord",
    "Cause",
    "CauseRecord",
    "CheckReport",
    "Classes",
    "Config",
    "ConfigError",
    "DatabaseInfo",
    "DatabaseRecord",
    "DeadLetterQueue",
    "Delivery",
    "DeliveryNotFoundError",
    "DeliveryRecord",
    "DeliveryState",
    "DeliveryStateError",
    "DuplicateJobError",
    "EngineClosedError",
    "Event",
    "EventKind",
    "EventRecord",
    "EventsPrunedError",
    "ExtraMissingError",
    "Finding",
    "FindingRecord",
    "InvalidInputError",
    "InvalidJobError",
    "InvalidValueError",
    "Job",
    "JobDetailRecord",
    "JobInput",
    "JobMessage",
    "JobNotFoundError",
    "JobPage",
    "JobRecord",
    "JobSpec",
    "JobState",
    "JobStateError",
    "LeftoverProcessError",
    "NewWebhook",
    "NewWebhookRecord",
    "OnCrash",
    "OutcomeKind",
    "OutputMissingError",
    "Point",
    "QueueCtlError",
    "QueueEngine",
    "QueueStats",
    "RunNotFoundError",
    "SchemaVersionError",
    "Setting",
    "Spread",
    "SpreadRecord",
    "StatusRecord",
    "StoreBusyError",
    "StoreDamagedError",
    "StoreError",
    "StoreReplacedError",
    "StoreUnusableError",
    "Totals",
    "Verdict",
    "WaitTimeoutError",
    "Webhook",
    "WebhookNotFoundError",
    "WebhookRecord",
    "WebhookTest",
    "WebhookTestRecord",
    "Webhooks",
    "WorkerInfo",
    "WorkerNotFoundError",
    "WorkerRecord",
    "WorkerState",
    "WorkerStateError",
    "attempt_record",
    "cause_record",
    "database_record",
    "default_database",
    "delivery_record",
    "diagnose",
    "escape_json",
    "escape_line",
    "escape_text",
    "event_record",
    "finding_record",
    "format_duration",
    "format_time",
    "job_detail_record",
    "job_record",
    "new_webhook_record",
    "parse_duration",
    "parse_job",
    "parse_jobs",
    "parse_size",
    "parse_time",
    "status_record",
    "webhook_record",
    "webhook_test_record",
    "worker_record",
]


def __getattr__(name: str) -> object:
    """Fetch a public name from its home."""
    home = _HOME_OF.get(name)

    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is public."""
    return [*__all__, "__version__"]
