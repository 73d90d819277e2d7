"""Settled payment callbacks per second, beside pgbench that runs the same statements on the same server.

Each callback is a signed one of Stripe's for an order of its own: verified, parsed, and settled in one transaction
that stores the event, locks the payment, credits the balance, books the entry and moves the payment. pgbench runs
the very statements of sql/, from as many connections as the service's pool has. The two run in turns.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import orjson
import psycopg

import service.app  # noqa: F401  # every room declares its queries
from benchmarks.load import CONNECTIONS as CLIENTS
from benchmarks.load import Result, drive, for_seconds, post
from benchmarks.webhook import ENVIRONMENT, Server, cpu_seconds, server
from service.kernel import embedded, queries

ROUNDS = 5
SECONDS = 5.0
WARM_UP = 3_000  # callbacks to each process
MOST = 15_000  # callbacks of one run; more than fit into SECONDS
CONNECTIONS = 20  # of the pool, and of pgbench
ORDERS = 600_000  # the first half for the service, the second for pgbench
SECRET = "whsec_benchmark"
STRIPE = {"STRIPE_SECRET_KEY": "sk_test_benchmark", "STRIPE_WEBHOOK_SECRET": SECRET, "LOG_LEVEL": "WARNING"}
PATH = "/payments/stripe"
PORTS = (18_080, 18_082)

FILL = (
    f"INSERT INTO users (user_id) SELECT n FROM generate_series(1, {ORDERS // 4}) AS n",
    f"""
    INSERT INTO payments (payment_id, user_id, provider, status, amount, currency, credit_rub, pack_id, expires_at)
    SELECT md5(n::text)::uuid, 1 + n % {ORDERS // 4}, 'stripe', 'pending', 3, 'USD', 300, 'small', '2100-01-01'
    FROM generate_series(1, {ORDERS}) AS n
    """,
)
# What stands in the statements for their parameters; :n is the order's number.
ORDER = "md5((:n)::text)::uuid"
NAMES = "ARRAY['stripe', 'stripe', 'stripe'], ARRAY['cs_' || (:n)::text, 'pi_' || (:n)::text, 'ch_' || (:n)::text]"
EVENT = "(SELECT id FROM payment_events WHERE provider = 'stripe' AND delivery_key = 'evt_' || (:n)::text)"
USER = f"(1 + :n % {ORDERS // 4})::bigint"
STATEMENTS = (
    (
        "payments.store_event",
        ("'stripe'", "'evt_' || (:n)::text", "'paid'", "'cs_' || (:n)::text", "'body'::bytea", "now()"),
    ),
    ("payments.lock_payments", (ORDER, *NAMES.split(", ARRAY", 1))),
    ("ledger.post", ("'stripe/' || (:n)::text", USER, "300", "'topup'", "'bench'", ORDER, "NULL::uuid", "FALSE")),
    (
        "payments.move_payment",
        (ORDER, "'succeeded'", "'cs_' || (:n)::text", "now()", *NAMES.split(", ARRAY", 1), EVENT),
    ),
)


def compare() -> None:
    """Settled callbacks per second, by one process and by two, beside pgbench."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        database = embedded.start(Path(folder))
        stack.callback(database.stop)
        environ = {**ENVIRONMENT, **STRIPE, "DATABASE_URL": database.dsn()}
        servers = [stack.enter_context(_process(environ, port, Path(folder))) for port in PORTS]
        with psycopg.connect(database.dsn(), autocommit=True) as connection:
            for statement in FILL:
                connection.execute(statement.encode())
            bodies = _callbacks()
            for one in servers:  # a server that has run for a minute knows its tables
                asyncio.run(drive(one.port, itertools.islice(bodies, WARM_UP)))
            connection.execute("VACUUM ANALYZE")
        script = Path(folder, "settle.sql")
        script.write_text(_script())
        ratios = [_round(number, servers, script, bodies) for number in range(ROUNDS)]
        _check(servers[0])
    for processes, of_rounds in zip(("one process", "two processes"), zip(*ratios, strict=True), strict=True):
        print(f"settled callbacks / pgbench with the same statements, {processes}: {statistics.median(of_rounds):.2f}")


def _process(environ: dict[str, str], port: int, folder: Path) -> AbstractContextManager[Server]:
    return server("-m", "service", "run", port=port, environ={**environ, "PORT": str(port)}, log=folder / f"{port}.log")


def _round(number: int, servers: list[Server], script: Path, bodies: Iterator[bytes]) -> tuple[float, float]:
    """The ratios of one process and of two, each beside the pgbench that ran just before."""
    yardstick = _pgbench(servers[0], script, number)
    one, told_one = _service(servers[:1], bodies)
    two, told_two = _service(servers, bodies)
    print(f"  round {number + 1}: pgbench {yardstick:5.0f}/s")
    print(f"    one process   {told_one}   ratio {one / yardstick:.2f}")
    print(f"    two processes {told_two}   ratio {two / yardstick:.2f}")
    return one / yardstick, two / yardstick


def _script() -> str:
    """The transaction as pgbench takes it; each client goes through orders of its own."""
    start = f"{ORDERS // 2} + :round * {ORDERS // 2 // ROUNDS}"
    lines = ["\\set i :i + 1", f"\\set n {start} + :client_id + {CONNECTIONS} * :i", "BEGIN;"]
    for name, values in STATEMENTS:
        text = queries.names()[name].text
        lines.append(re.sub(r"\$(\d+)", lambda found: f"({_value(values, found)})", _one_line(text)) + ";")  # noqa: B023
    return "\n".join([*lines, "COMMIT;", ""])


def _value(values: tuple[str, ...], found: re.Match[str]) -> str:
    value = values[int(found[1]) - 1]
    return (
        value
        if value.startswith(("ARRAY", "md5", "'", "(", "now", "NULL", "FALSE")) or value[0].isdigit()
        else f"ARRAY{value}"
    )


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"--[^\n]*", "", text).split())


def _pgbench(full: Server, script: Path, number: int) -> float:
    """Transactions per second."""
    program = embedded.find_programs().directory / "pgbench"
    clients = ["-c", str(CONNECTIONS), "-j", "2", "-T", str(int(SECONDS)), "-M", "prepared", "-n"]
    variables = ["-D", "i=0", "-D", f"round={number}"]
    command = [program, *clients, *variables, "-f", script, full.dsn]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(re.search(r"tps = ([0-9.]+)", done.stdout)[1])


def _service(servers: list[Server], bodies: Iterator[bytes]) -> tuple[float, str]:
    signed = iter(list(itertools.islice(bodies, MOST)))  # beforehand: signing would take the machine's time
    before = sum(cpu_seconds(one.pid) for one in servers)
    results = asyncio.run(_driven(servers, signed))
    rate = sum(result.rate for result in results)
    statuses = {status for result in results for status in result.statuses}
    assert statuses == {200}, statuses
    latencies = [latency for result in results for latency in result.latencies]
    cpu_us = (sum(cpu_seconds(one.pid) for one in servers) - before) / len(latencies) * 1e6
    whole = Result(latencies=latencies)
    p50, p99 = whole.percentile(0.5) * 1000, whole.percentile(0.99) * 1000
    return rate, f"{rate:5.0f}/s p50 {p50:4.1f} ms p99 {p99:5.1f} ms cpu {cpu_us:4.0f} us"


async def _driven(servers: list[Server], bodies: Iterator[bytes]) -> list[Result]:
    """Forty connections in all, whatever the number of processes."""
    share = CLIENTS // len(servers)
    return await asyncio.gather(*(drive(one.port, for_seconds(bodies, SECONDS), connections=share) for one in servers))


def _check(full: Server) -> None:
    """Every callback that was answered is money on a balance."""
    with psycopg.connect(full.dsn) as connection:
        query = "SELECT count(*), sum(amount_rub) / 300 FROM payment_transactions"
        entries, credited = connection.execute(query).fetchone()
        settled = connection.execute("SELECT count(*) FROM payments WHERE status = 'succeeded'").fetchone()[0]
    assert entries == credited == settled, (entries, credited, settled)


def _callbacks() -> Iterator[bytes]:
    for number in itertools.count(1):
        order = str(_uuid(number))
        session = {
            "id": f"cs_test_{number}",
            "object": "checkout.session",
            "mode": "payment",
            "status": "complete",
            "payment_status": "paid",
            "payment_intent": f"pi_{number}",
            "amount_total": 300,
            "currency": "usd",
            "livemode": False,
            "metadata": {"payment_id": order},
        }
        event = {"id": f"evt_service_{number}", "object": "event", "type": "checkout.session.completed"}
        body = orjson.dumps({**event, "created": int(time.time()), "livemode": False, "data": {"object": session}})
        yield post(PATH, {"Content-Type": "application/json", "Stripe-Signature": _signed(body)}, body)


def _uuid(number: int) -> str:
    digits = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _signed(body: bytes) -> str:
    at = int(time.time())
    signature = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signature}"
