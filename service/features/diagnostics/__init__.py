"""Diagnostics: what became of generations, kept and counted for operators. Nothing else depends on it."""

from service.feature import REMOVED, Feature, Offer, owns, reads
from service.features.diagnostics import handlers, operators, pruning, recorder
from service.features.diagnostics.recorder import Recorder, RecorderInTable
from service.text import Text

FEATURE = Feature(
    name="diagnostics",
    title=Text(en="Generation diagnostics", ru="Диагностика генераций"),
    erases={"generation_events": REMOVED},
    needs={
        "generation_events": owns(
            "user_id",
            "chat_id",
            "model_id",
            "category",
            "status",
            "is_free_applied",
            "price_rub",
            "request_id",
            "task_id",
            "error_code",
            "error_message",
            "duration_ms",
            "created_at",
        ),
        "users": reads("user_id", "created_at"),
    },
    router=handlers.router,
    routes=operators.ROUTES,
    jobs=(recorder.JOB, pruning.JOB),
    offers=(Offer(Recorder, RecorderInTable, lambda _: Recorder()),),
    hears={"generation": recorder.hear},
    runs=(recorder.flushed_at_stop,),
)
