"""Generation: what the bot makes, in a queue that survives whatever happens to the processes that work on it.

The switches: `generation` (always on: what is free can be made by the process alone), `generation_jobs` (the queue)
and `paid_generation` (the queue and money).
"""

from service.feature import REMOVED, Feature, Menu, Offer, owns, reads
from service.features.generation import callback, delivery, operators, providers
from service.features.generation.attempt import EVENT
from service.features.generation.billing import Billing, BillingByBalance
from service.features.generation.bot import generate, job, models, texts
from service.features.generation.in_process import InProcess
from service.features.generation.providers.provider import Providers
from service.features.generation.queue import figures, tending, worker
from service.features.generation.queue.bell import Bell
from service.features.generation.queue.door import Queue, QueueInTable
from service.features.generation.queue.ending import Endings
from service.payments import wallet
from service.telegram.router import Router
from service.text import Text

TABLES = {
    "generation_jobs": owns(
        "job_id",
        "user_id",
        "chat_id",
        "language",
        "model_id",
        "price_rub",
        "prompt",
        "timeout_s",
        "at_once",
        "status",
        "place",
        "due_at",
        "lease",
        "instance_id",
        "attempts",
        "reference",
        "called_back_at",
        "deadline_at",
        "progress_message_id",
        "outputs",
        "file",
        "error_code",
        "error_message",
        "deliveries",
        "created_at",
        "started_at",
        "finished_at",
        "delivered_at",
    ),
    "instances": owns("instance_id", "name", "started_at", "beat_at"),
}

GENERATION = Feature(
    name="generation",
    title=Text(en="Models and free work", ru="Модели и бесплатные работы"),
    menu=Menu(
        buttons=(texts.MODELS_BUTTON,),
        commands=(("models", texts.MODELS_COMMAND), ("generate", texts.GENERATE_COMMAND)),
    ),
    router=Router.merge((models.router, generate.router)),
    offers=(
        Offer(Providers, providers.opened, providers.opened),
        Offer(InProcess, lambda _: InProcess(), lambda _: InProcess()),
        Offer(Bell, Bell.opened, Bell.opened),
        Offer(Endings, Endings.opened, Endings.opened),
    ),
    hears={EVENT: figures.hear},
    runs=(worker.at_work,),
)
JOBS = Feature(
    name="generation_jobs",
    title=Text(en="The queue", ru="Очередь"),
    needs=TABLES,
    erases={"generation_jobs": REMOVED},
    router=job.router,
    routes=(callback.ROUTE, operators.ROUTE),
    jobs=(tending.RESCUE, delivery.JOB, tending.PRUNE),
    offers=(Offer(Queue, lambda _: QueueInTable(), lambda _: Queue()),),
    gauges=(figures.GAUGES,),
)
# Whoever has too little must be able to top up, so paid work needs the payments as well.
PAID = Feature(
    name="paid_generation",
    title=Text(en="Paid models", ru="Платные модели"),
    needs={**wallet.NEEDS, "payments": reads("payment_id"), **TABLES},
    jobs=(tending.PROLONG,),
    offers=(Offer(Billing, lambda _: BillingByBalance(), lambda _: Billing()),),
)
FEATURES = (GENERATION, JOBS, PAID)
