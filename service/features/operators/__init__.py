"""Operators: which features are on, told in the bot. It needs nothing, so that it answers when nothing else does."""

from service.feature import Feature
from service.features.operators import handlers
from service.text import Text

FEATURE = Feature(name="operators", title=Text(en="For operators", ru="Для операторов"), router=handlers.router)
