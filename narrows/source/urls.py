"""URLs in messages: without the credentials that they may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "***"
SCHEMES_WITH_USERS = ("http", "https", "ftp", "sftp", "ssh", "smb", "webdav")
"""Their user names are no secrets if a password follows; elsewhere (``s3://key:secret@bucket``) they are half of one."""
MAX_USER_NAME = 20
"""A longer user name is a token (``https://ghp_...:x-oauth-basic@host``)."""
SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
URL = re.compile(rf"(?P<scheme>{SCHEME})(?P<rest>(?:(?!::{SCHEME})[^\s'\"<>])*)")
"""A URL within a text; of a chain (``zip://*.csv::https://...``) one part."""
WHOLE_URL = re.compile(rf"(?P<scheme>{SCHEME})(?P<rest>(?:(?!::{SCHEME}).)*)")
"""The same in a text that is a URL, whatever characters are in it."""
MIN_SECRET = 8
"""A shorter secret is hidden where it is a word: it may be part of other words."""
USER = re.compile(r"[^/?#]*@|[^/?#@]*:(?!\d{1,5}[/?#])[^@]*@")
"""What stands before a URL's host; the second form is a secret that has an unescaped slash."""
PARAMETER = re.compile(r"(?P<start>[?&;#])(?P<name>[^=&;#?]+)=(?!\*\*\*)(?P<value>[^&;#]+)")
SECRET_NAME = re.compile(r"token|sig|key|secret|pass|pwd|cred|auth|code|session|policy", re.I)
SECRET_VALUE = re.compile(r"[A-Za-z0-9+/_~%=.-]{20,}")
"""Longer than a date, a name or a number: it may be a token, whatever its parameter is called."""


def redacted(text: str, url: str = "") -> str:
    """A message (or a URL alone) without credentials, for people, logs, manifests and tags.

    In every URL of ``text``, the user and the password before the host and the query's tokens and signatures become
    ``***``. Libraries also quote parts of a URL: the secrets of ``url`` are hidden wherever they stand in ``text``.
    """
    text = URL.sub(_without_secrets, text.replace(url, WHOLE_URL.sub(_without_secrets, url)) if url else text)
    for secret in sorted({*_secrets(url)} - {""}, key=len, reverse=True):
        word = re.escape(secret) if len(secret) >= MIN_SECRET else rf"(?<!\w){re.escape(secret)}(?!\w)"
        text = re.sub(word, HIDDEN, text)
    return text


def _without_secrets(match: re.Match[str]) -> str:
    rest = match["rest"]
    if user := USER.match(rest):
        name, _, password = user[0][:-1].partition(":")
        shown = f"{name}:{HIDDEN}@" if password and _is_public(name, match["scheme"]) else f"{HIDDEN}@"
        rest = shown + rest[user.end() :]
    return match["scheme"] + PARAMETER.sub(_without_value, rest)


def _is_public(user: str, scheme: str) -> bool:
    return scheme.lower().removesuffix("://") in SCHEMES_WITH_USERS and len(user) < MAX_USER_NAME


def _without_value(match: re.Match[str]) -> str:
    return f"{match['start']}{match['name']}={HIDDEN}" if _is_secret(match) else match[0]


def _is_secret(parameter: re.Match[str]) -> bool:
    if parameter["start"] == "#" and parameter["name"] == "sha256":
        return False  # of a public wheel
    return bool(SECRET_NAME.search(parameter["name"]) or SECRET_VALUE.fullmatch(parameter["value"]))


def _secrets(url: str) -> Iterator[str]:
    """The secrets of a URL, as written and decoded."""
    for match in WHOLE_URL.finditer(url):
        rest = match["rest"]
        secrets = [parameter["value"] for parameter in PARAMETER.finditer(rest) if _is_secret(parameter)]
        if user := USER.match(rest):
            name, _, password = user[0][:-1].partition(":")
            secrets.append(password or name)
            if password and not _is_public(name, match["scheme"]):
                secrets.append(name)
        for secret in secrets:
            yield secret
            yield unquote(secret)
