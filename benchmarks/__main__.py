"""`make bench`: everything that is measured, or the measurements named on the command line."""

import sys

from benchmarks import callbacks, queue, verify, webhook

MEASUREMENTS = {
    "webhook": webhook.compare,
    "memory": webhook.flat_memory,
    "callbacks": callbacks.compare,
    "verify": verify.measure,
    "queue": queue.compare,
}

for name in sys.argv[1:] or MEASUREMENTS:
    print(f"{name}: {MEASUREMENTS[name].__doc__}")
    MEASUREMENTS[name]()
