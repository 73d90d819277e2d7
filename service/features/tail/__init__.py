"""The tail: what happens, as it happens, at every instance, for operators who watch. Nothing else depends on it."""

from service.feature import REMOVED, Feature, Offer, owns
from service.features.tail import operators, pruning, tail
from service.features.tail.event import KEPT
from service.features.tail.tail import Tail, TailInTable
from service.text import Text

FEATURE = Feature(
    name="tail",
    title=Text(en="The tail of events", ru="Лента событий"),
    erases={"tail_events": REMOVED},
    needs={"tail_events": owns("id", "key", "name", "instance", "user_id", "model_id", "told", "happened_at")},
    routes=(operators.ROUTE,),
    jobs=(tail.JOB, pruning.JOB),
    offers=(Offer(Tail, TailInTable, lambda _: Tail()),),
    hears=dict.fromkeys(KEPT, tail.hear),
    runs=(tail.flushed_at_stop,),
)
