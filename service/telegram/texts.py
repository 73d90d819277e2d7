"""What the door itself says to a person. It knows no occasion: who says it when is the dispatcher's."""

from service.text import Text

# The wording is part of the contract: operators and tests search for it.
UNAVAILABLE = Text(en="⚠️ Database temporarily unavailable", ru="⚠️ База временно недоступна")
REFUSED = Text(en="That did not work: it is out of date or not valid.", ru="Не получилось: устарело или неверно.")
TOO_FAST = Text(en="Too fast, one moment please.", ru="Слишком быстро, секунду, пожалуйста.")
