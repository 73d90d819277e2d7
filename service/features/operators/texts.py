"""What is said to operators about features, in both languages. Pure: it knows no occasion."""

from service.text import Counted, Text

ALL_ON = Text(en="Everything is on.", ru="Всё включено.")
OFF = Counted(
    en={"one": "{n} feature is off.", "other": "{n} features are off."},
    ru={
        "one": "Отключена {n} возможность.",
        "few": "Отключены {n} возможности.",
        "many": "Отключено {n} возможностей.",
        "other": "Отключено {n} возможности.",
    },
)
