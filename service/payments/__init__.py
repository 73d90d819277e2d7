"""Payments: money's door. It knows money that arrives inside Telegram; nothing is sold yet."""

from service.feature import Feature
from service.payments import handlers
from service.text import Text

FEATURE = Feature(name="payments", title=Text(en="Payments", ru="Платежи"), router=handlers.router)
