"""PostgreSQL's own programs on this machine: where they are, of which version, and how they reach a database.

It knows pg_dump and its sisters by name; it knows nothing of what is dumped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from service.errors import ServiceError, Unavailable
from service.kernel import embedded
from service.kernel.embedded import Programs

# Where Debian and its kin put every version beside the others.
PACKAGES = Path("/usr/lib/postgresql")
# The user of those packages: a server never runs as root.
PACKAGES_USER = "postgres"
VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
ENVIRONMENT = {**embedded.ENVIRONMENT, "PGCONNECT_TIMEOUT": "10"}


class ProgramFailed(ServiceError):
    """A program of PostgreSQL failed."""

    code = "program_failed"


def find(name: str, *others: str, major: int, extensions: tuple[str, ...] = ()) -> Programs:
    """The oldest programs here that are not older than that version of PostgreSQL, and have what is asked for.

    What a newer pg_dump writes, an older server may refuse. Raises Unavailable, with what to install.
    """
    there = [(_major(one, name), one) for one in _installed() if _has(one, name, *others)]
    fitting = [(number, at, one) for at, (number, one) in enumerate(there) if number >= major]
    for _, _, one in sorted(fitting, key=lambda found: found[:2]):
        if not missing_extensions(one, extensions):
            return one
    wanted = f"{name} of PostgreSQL {major} or newer" + (f" with {', '.join(extensions)}" if extensions else "")
    newest = max((number for number, _ in there), default=None)
    raise Unavailable(f"{wanted} is needed here, and {'there is none' if newest is None else f'found is {newest}'}")


def missing_extensions(programs: Programs, extensions: tuple[str, ...]) -> list[str]:
    """Those that a server of these programs could not create."""
    if not extensions:
        return []
    shared = Path(_told(programs.directory / "pg_config", "--sharedir").strip(), "extension")
    return [name for name in extensions if not (shared / f"{name}.control").exists()]


def reached(dsn: str) -> tuple[str, dict[str, str]]:
    """The address as programs take it, and the environment with its password: arguments are for all to read.

    Of several hosts the one that takes writes is meant, as everywhere else in the service.
    """
    url = urlsplit(dsn)
    login, at, hosts = url.netloc.rpartition("@")
    user, _, password = login.partition(":")
    query = [url.query] if url.query else []
    if "," in hosts:
        query.append("target_session_attrs=read-write")
    bare = url._replace(netloc=f"{user}{at}{hosts}", query="&".join(query)).geturl()
    return bare, {**ENVIRONMENT, "PGPASSWORD": unquote(password)} if password else dict(ENVIRONMENT)


def failed(name: str, said: str) -> ProgramFailed:
    """With what the program said first: what follows is mostly of no help."""
    lines = [line.removeprefix(f"{name}: ").removeprefix("error: ") for line in said.strip().splitlines()]
    return ProgramFailed(f"{name}: {next(iter(lines), 'it was ended')}")


def _installed() -> Iterator[Programs]:
    """On PATH, in the system's packages, in the embedded server's."""
    user = PACKAGES_USER if os.geteuid() == 0 else None
    if (on_path := shutil.which("pg_dump")) is not None:
        yield Programs(Path(on_path).parent, user)
    for folder in sorted(PACKAGES.glob("*/bin")):
        yield Programs(folder, user)
    with suppress(Unavailable):
        yield embedded.find_programs()


def _has(programs: Programs, *names: str) -> bool:
    return all((programs.directory / name).exists() for name in names)


def _major(programs: Programs, name: str) -> int:
    """0 where it does not say."""
    found = VERSION.search(_told(programs.directory / name, "--version"))
    return int(found[1]) if found else 0


def _told(program: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program, without a shell
            [program, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False
        )
    except OSError:
        return ""
    return done.stdout
