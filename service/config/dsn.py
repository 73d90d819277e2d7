"""Makes one PostgreSQL URL out of the spellings that platforms use.

It knows how such a URL is written and encoded; it opens no connection, and repeats no part of a URL in a
fault, since a password may be anywhere in a malformed one.
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlencode, urlsplit

SCHEMES = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})
SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
ENCODE = "must be a postgresql:// URL; write @ : / ? # % in its user or password as %40 %3A %2F %3F %23 %25"


def url(value: str) -> str:
    """A PostgreSQL URL with the scheme postgresql://; hosts, path and query are kept.

    `ssl=`, as URLs of postgresql+asyncpg:// spell it, becomes `sslmode=`. Raises ValueError where it is not one.
    """
    parts = _split(value)
    parts = parts._replace(query=re.sub(r"(^|&)ssl=", r"\1sslmode=", parts.query))
    if parts.scheme not in SCHEMES:
        raise ValueError("must begin with postgresql://, postgres:// or postgresql+asyncpg://")
    if parts.fragment or "@" in parts.path or not (parts.netloc or parts.path.strip("/") or parts.query):
        raise ValueError(ENCODE)
    _check_hosts(parts)
    _check_query(parts)
    query = f"?{parts.query}" if parts.query else ""
    return f"postgresql://{_encoded(parts.netloc)}{parts.path}{query}"


def hosts(value: str) -> str:
    """A host name, several of them, or the directory of a Unix socket."""
    if not value.startswith("/") and not re.fullmatch(r"[\w.:%,\[\] -]+", value):
        raise ValueError("must be host names separated by commas, or a directory that begins with /")
    return value


def from_parts(*, host: str, port: int, name: str, user: str, password: str | None) -> str:
    """The URL of DB_HOST and its sisters; a host that is a directory is a Unix socket."""
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    database = quote(name, safe="")
    if host.startswith("/"):
        return f"postgresql://{login}@/{database}?{urlencode({'host': host, 'port': port}, safe='/')}"
    hosts = ",".join(_with_port(one.strip(), port) for one in host.split(","))
    return f"postgresql://{login}@{hosts}/{database}"


def password(value: str) -> str:
    """The password as a person would type it; empty where there is none."""
    return unquote(urlsplit(value).password or "")


def _split(value: str) -> SplitResult:
    try:
        return urlsplit(value)
    except ValueError:
        raise ValueError(ENCODE) from None  # the parser's own message quotes the URL


def _check_hosts(parts: SplitResult) -> None:
    for host in parts.netloc.rpartition("@")[2].split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not (port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("has a port that is not a number from 1 to 65535")


def _check_query(parts: SplitResult) -> None:
    try:
        query = parse_qs(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True)
    except ValueError:
        raise ValueError("has a malformed part after the ?") from None
    if not SSL_MODES.issuperset(query.get("sslmode", [])):
        raise ValueError(f"has an sslmode that is not one of {', '.join(sorted(SSL_MODES))}")


def _encoded(netloc: str) -> str:
    """A password often comes with a bare @ in it, at which asyncpg would take the rest for the host."""
    login, at, hosts = netloc.rpartition("@")
    user, colon, password = login.partition(":")
    return quote(unquote(user), safe="") + colon + quote(unquote(password), safe="") + at + hosts


def _with_port(host: str, port: int) -> str:
    bare_ipv6 = host.count(":") > 1 and not host.startswith("[")
    named = f"[{host}]" if bare_ipv6 else host
    return named if named.rpartition("]")[2].count(":") else f"{named}:{port}"
