"""What platforms are told: the very commands of render.yaml and Procfile, in an environment made of them alone."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
import yaml
from filelock import FileLock

from service.config import load
from service.telegram.webhook import PATH, SECRET_HEADER
from tests import serving
from tests.cast import PAYER
from tests.postgres import free_port
from tests.waiting import until

ROOT = Path(__file__).parents[1]
BLUEPRINT = (ROOT / "render.yaml").read_text()
RENDER = yaml.safe_load(BLUEPRINT)
(WEB,) = RENDER["services"]
# The worker is there for whoever takes off the marks.
WITH_WORKER = yaml.safe_load(re.sub(r"^  # (?=- type: worker|  )", "  ", BLUEPRINT, flags=re.MULTILINE))
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
ADDRESS = "https://ballast.example.org"
# What people fill in where the blueprint says `sync: false`.
FILLED_IN = {"TELEGRAM_BOT_TOKEN": serving.TOKEN, "TELEGRAM_WEBHOOK_SECRET": serving.SECRET}
START_S, STOP_S = 20.0, 30.0

Environment = dict[str, str]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of a virtual environment with what production installs; one for all workers of a run."""
    here = tmp_path_factory.getbasetemp()
    shared = here.parent if "PYTEST_XDIST_WORKER" in os.environ else here
    made = shared / "production"
    with FileLock(shared / "production.lock"):
        if not (made / "ready").exists():
            build(made)
    return made / "bin"


def build(made: Path) -> None:
    """Run the blueprint's buildCommand. Skips where the registry cannot be reached; in CI it must be."""
    subprocess.run(["python3", "-m", "venv", "--clear", made], check=True, cwd="/")
    environ = {**os.environ, "PATH": f"{made / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(WEB["buildCommand"], shell=True, cwd=ROOT, env=environ, capture_output=True, text=True)
    if done.returncode != 0:
        reason = f"{WEB['buildCommand']}: {(done.stderr.splitlines() or ['failed'])[-1]}"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    (made / "ready").touch()


def on_render(programs: Path, database_url: str) -> Environment:
    """What a service of the blueprint finds in its environment."""
    given = {entry["key"]: value_of(entry, database_url) for entry in WEB["envVars"]}
    return {"PATH": f"{programs}:{os.defpath}", "RENDER_EXTERNAL_URL": ADDRESS, **given}


def value_of(entry: Mapping[str, Any], database_url: str) -> str:
    if "fromDatabase" in entry:
        return database_url
    if entry.get("generateValue"):
        return base64.b64encode(b"\xff" * 32).decode()  # / and = are in it, as may be in theirs
    return str(entry["value"]) if "value" in entry else FILLED_IN[entry["key"]]


def on_heroku(programs: Path, database_url: str) -> Environment:
    """Heroku's own spelling of the address, and what docs/operations.md says to set."""
    return {
        "PATH": f"{programs}:{os.defpath}",
        "DATABASE_URL": database_url.replace("postgresql://", "postgres://"),
        "ENVIRONMENT": "production",
        "PUBLIC_URL": ADDRESS,
        "ADMIN_TOKEN": serving.ADMIN_TOKEN,
        **FILLED_IN,
    }


PLATFORMS = {
    "render": (on_render, WEB["preDeployCommand"], WEB["startCommand"]),
    "heroku": (on_heroku, PROCFILE["release"], PROCFILE["web"]),
}


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_the_commands_migrate_serve_and_stop(platform: str, programs: Path, empty_database_url: str) -> None:
    environment, migrate, start = PLATFORMS[platform]
    environ = environment(programs, empty_database_url)
    assert "applied 0001_users" in shell(migrate, environ)
    assert "nothing to apply" in shell(migrate, environ)
    async with serving.telegram() as (sandbox, api):
        port = free_port()
        with running(start, environ | {"PORT": str(port), "TELEGRAM_API_BASE": api}) as process:
            async with talking(process, f"http://127.0.0.1:{port}") as http:
                assert await status(http, WEB["healthCheckPath"]) == 200
                assert await status(http, "/health/ready") == 200
                assert "Hello, Payer" in await greeting(http)
                called = await sandbox.wait_for(lambda call: call.method.lower() == "setwebhook")
                assert called.params["url"].startswith(ADDRESS + PATH)
        assert process.returncode == 0, "it was told to stop, and stopped"


async def test_a_worker_beside_it_beats_and_leaves(programs: Path, database_url: str) -> None:
    async with serving.telegram() as (_, api):
        environ = on_heroku(programs, database_url) | {"TELEGRAM_API_BASE": api}
        with running(PROCFILE["worker"], environ) as process, psycopg.connect(database_url, autocommit=True) as raw:

            def is_beating() -> bool:
                assert process.poll() is None, "it ended before it worked"
                return raw.execute("SELECT count(*) FROM instances").fetchone() == (1,)

            await until(is_beating, START_S)
            os.killpg(process.pid, signal.SIGTERM)
            await until(lambda: process.poll() is not None, STOP_S)
            assert process.returncode == 0
            assert raw.execute("SELECT count(*) FROM instances").fetchone() == (0,), "nobody waits for who has left"


def test_the_worker_of_the_blueprint_has_what_the_web_service_has() -> None:
    web, worker = WITH_WORKER["services"]
    assert worker["type"] == "worker"
    assert worker["startCommand"] == PROCFILE["worker"]
    assert worker["buildCommand"] == web["buildCommand"]
    assert [entry["key"] for entry in worker["envVars"]] == [entry["key"] for entry in web["envVars"]]
    shared = [entry["fromService"] for entry in worker["envVars"] if "fromService" in entry]
    assert {(one["type"], one["name"]) for one in shared} == {(web["type"], web["name"])}


def test_production_does_not_start_half_configured(programs: Path) -> None:
    done = subprocess.run(
        PROCFILE["web"],
        shell=True,
        cwd=ROOT,
        env={"PATH": f"{programs}:{os.defpath}", "ENVIRONMENT": "production"},
        capture_output=True,
        text=True,
        timeout=START_S,
    )
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    for name in ("DATABASE_URL", "TELEGRAM_BOT_TOKEN", "TELEGRAM_WEBHOOK_SECRET", "ADMIN_TOKEN"):
        assert name in line


def test_the_blueprint_gives_what_production_asks_for() -> None:
    config = load(on_render(Path("/nowhere"), "postgresql://ballast-db/ballast"))
    assert not config.development
    assert config.host == "0.0.0.0", "the platform's router comes from outside"


def test_the_blueprint_hangs_together() -> None:
    databases = {database["name"] for database in RENDER["databases"]}
    named = {entry["fromDatabase"]["name"] for entry in WEB["envVars"] if "fromDatabase" in entry}
    assert named == databases
    assert WEB["maxShutdownDelaySeconds"] >= STOP_S


def test_the_platforms_get_the_python_that_the_tests_run_on() -> None:
    version = (ROOT / ".python-version").read_text().strip()
    assert f'python_version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    assert re.search(rf'requires-python = ">={re.escape(version)}"', (ROOT / "pyproject.toml").read_text())


def shell(command: str, environ: Environment) -> str:
    """What a command prints. Fails with its last words."""
    done = subprocess.run(
        command, shell=True, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(command: str, environ: Environment) -> Iterator[subprocess.Popen[bytes]]:
    """A command as a platform runs it: in a shell, and SIGTERM to everything that it started."""
    process = subprocess.Popen(command, shell=True, cwd=ROOT, env=environ, start_new_session=True)
    try:
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(STOP_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@asynccontextmanager
async def talking(process: subprocess.Popen[bytes], base: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A session, once the service answers."""

    async def answers() -> bool:
        assert process.poll() is None, "it ended before it answered"
        try:
            return await status(http, "/health/ready") == 200
        except aiohttp.ClientConnectionError:
            return False

    async with aiohttp.ClientSession(base) as http:
        await until(answers, START_S)
        yield http


async def status(http: aiohttp.ClientSession, path: str) -> int:
    async with http.get(path) as response:
        return response.status


async def greeting(http: aiohttp.ClientSession) -> str:
    """What the bot says to /start."""
    headers = {SECRET_HEADER: serving.SECRET}
    async with http.post(PATH, json=serving.message(PAYER, "/start"), headers=headers) as response:
        return str((await response.json())["text"])
