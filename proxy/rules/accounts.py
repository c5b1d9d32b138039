"""Accounts and their passwords: those that applications log in with, and Turnout's own on the servers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from proxy.rules.form import FileForm, SecretForm, ServiceForm
from proxy.rules.model import AuthPlugin, ServiceAccount, User
from proxy.rules.problem import listed
from proxy.rules.report import Report
from proxy.rules.tree import Path as Where

_SECRET_KEYS = ("password", "password_env", "password_file")
_LONGEST_NAME = 80  # MariaDB's; MySQL's is 32
_LONGEST_PASSWORD_FILE = 4096

HOW_TO_CREATE_SERVICE = (
    "On every server: CREATE USER 'turnout'@'%' IDENTIFIED BY '..'; "
    "GRANT SELECT, SHOW VIEW, TRIGGER, PROCESS, REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO 'turnout'@'%'; "
    "on MariaDB also GRANT REPLICA MONITOR ON *.* TO 'turnout'@'%'; "
    "then write `service: {user: turnout, password_env: TURNOUT_PASSWORD}`."
)


class Secrets:
    """Where passwords that are not in the file itself come from."""

    def __init__(self, report: Report, folder: Path, environ: Mapping[str, str]) -> None:
        self._report = report
        self._folder = folder
        self._environ = environ

    def read(self, path: Where, form: SecretForm) -> str:
        """The password of the account at `path`; a problem and "" when it cannot be had."""
        written = [key for key in self._report.keys(path) if key in _SECRET_KEYS]
        if not written:
            self._report.add(path, "has no password", f"Write one of {listed(_SECRET_KEYS)}.")
        for extra in written[1:]:
            message = f"says the password a second time, beside `{written[0]}`"
            self._report.add((*path, extra), message, "Keep one of them.", at_key=True)
        if len(written) != 1:
            return ""
        if form.password_file is not None:
            return self._from_file((*path, "password_file"), form.password_file)
        password = form.password or ""
        if form.password_env is not None:
            password = self._from_environment((*path, "password_env"), form.password_env)
        if "\n" in password or "\r" in password:  # a block (`|`) or a copied value ends with one that nobody meant
            self._report.add(
                (*path, written[0]), "has a line break in it", "Write the password on one line, in quotes."
            )
        return password

    def _from_environment(self, path: Where, name: str) -> str:
        password = self._environ.get(name, "")
        if not password:
            state = "is empty" if name in self._environ else "is not set"
            self._report.add(path, f"the environment variable {name} {state}", f"Start Turnout with {name} set.")
        return password

    def _from_file(self, path: Where, name: str) -> str:
        file = self._folder / name
        try:
            with file.open("rb") as opened:
                content = opened.read(_LONGEST_PASSWORD_FILE + 1)
            password = content.decode()
        except OSError as error:
            self._report.add(path, f"the file {file} cannot be read: {error.strerror}")
            return ""
        except UnicodeDecodeError:
            self._report.add(path, f"the file {file} is not UTF-8 text")
            return ""
        password = password.removesuffix("\n").removesuffix("\r")
        if not password:
            self._report.add(path, f"the file {file} is empty", 'An account without a password is `password: ""`.')
        elif "\n" in password or len(content) > _LONGEST_PASSWORD_FILE:
            self._report.add(path, f"the file {file} must hold one line, the password")
        return password


def read_users(report: Report, form: FileForm, secrets: Secrets) -> dict[str, User]:
    users = {}
    for name, user in form.users.items():
        path = ("users", name)
        if len(name) > _LONGEST_NAME:
            report.add(path, f"is longer than an account's name may be ({_LONGEST_NAME} characters)", at_key=True)
        users[name] = User(
            name=name,
            password=secrets.read(path, user),
            admin=user.admin,
            auth=AuthPlugin(user.auth) if user.auth else None,
            result_rows=user.result_rows,
            result_bytes=user.result_bytes,
        )
    if not report.keys(("users",)) and not report.has_problem(("users",)) and "users_from" not in report.keys(()):
        suggestion = "Write `users: {app: {password_env: APP_PASSWORD}}`, or `users_from:` with a cluster's name."
        report.add(("users",), "names no account, so nobody could log in", suggestion)
    return users


def read_service(report: Report, path: Where, form: ServiceForm | None, secrets: Secrets) -> ServiceAccount | None:
    return ServiceAccount(form.user, secrets.read(path, form)) if form is not None else None


def check_service(report: Report, form: FileForm) -> None:
    """Every cluster needs an account for health checks and the catalog."""
    if "service" in report.keys(()):
        return
    without = [name for name in report.keys(("clusters",)) if "service" not in report.keys(("clusters", name))]
    if without:
        report.add(("service",), f"is missing: no account watches {listed(without)}", HOW_TO_CREATE_SERVICE)
