"""A client logs in to us. Sans-IO: bytes in, events out.

    GREETING  --start-->  RESPONSE  --TLS asked for-->  TLS  --tls_started-->  RESPONSE (in TLS)
    RESPONSE  --plugin fits, proof right-->  DONE
              --other plugin wanted------->  SWITCHED  --proof right-->  DONE
    (either)  --sha2 proof not accepted--->  PASSWORD  --password right-->  DONE
    PASSWORD  --public key asked for------>  ENCRYPTED  --password right-->  DONE
    (any)     --wrong, malformed, too big, out of order-->  DONE

COM_CHANGE_USER enters at `start_change_user` and goes on as behind a response. The dialogue for an unknown user is that
for a wrong password. Whatever a client sends before it is accepted, at most 64 KB of it are held, and nothing that it
sends raises: it is answered by Rejected.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from proxy.errors import Defect, ProtocolError
from proxy.wire import auth, capability, frames, packets, proxy_header
from proxy.wire.client_claim import Claim, read_claim
from proxy.wire.handshake import (
    NATIVE,
    AuthMoreData,
    AuthSwitch,
    Greeting,
    HandshakeResponse,
    SslRequest,
    bad_handshake,
    client_too_old,
    parse_change_user,
    parse_response,
)
from proxy.wire.login_events import (
    Accepted,
    Account,
    AccountSource,
    ClientEvent,
    Closed,
    Rejected,
    Secret,
    SendBytes,
    StartTls,
    decoy,
)

MAX_HELD: Final = 64 * 1024  # bytes of a client that has not logged in
MAX_PASSWORD: Final = 256  # MySQL's MAX_PLAINTEXT_LENGTH; keeps the cost of hashing bounded
MAX_NAME_SHOWN: Final = 128  # characters of the name that an error repeats
_PROXY_STARTS: Final = (proxy_header.V1_START[:4], proxy_header.V2_START[:4])  # no frame of a login begins so
_FAST_OK: Final = b"\x03"
_FULL_PLEASE: Final = b"\x04"
_KEY_PLEASE: Final = b"\x02"
_CONNECTORS_J: Final = (b"MySQL Connector/J", b"MySQL Connector Java")  # as they say in their attributes
_MARIADB_STARTS: Final = "5.5.5-"  # its versions before 11 for replicas' and drivers' sake


class State(enum.Enum):
    GREETING = "before start()"
    RESPONSE = "awaits the handshake response"
    TLS = "awaits tls_started()"
    SWITCHED = "awaits the proof after an auth switch"
    PASSWORD = "awaits the password, in clear over TLS, encrypted, or the wish for the public key"
    ENCRYPTED = "awaits the password encrypted with the public key"
    DONE = "accepted or rejected"


class Step(enum.Enum):
    STARTED = enum.auto()
    USER_CHANGED = enum.auto()
    TLS_ASKED = enum.auto()
    TLS_STARTED = enum.auto()
    SWITCH_SENT = enum.auto()
    PASSWORD_ASKED = enum.auto()
    KEY_SENT = enum.auto()
    ENDED = enum.auto()


_NEXT: Final[dict[tuple[State, Step], State]] = {
    (State.GREETING, Step.STARTED): State.RESPONSE,
    (State.GREETING, Step.USER_CHANGED): State.RESPONSE,
    (State.RESPONSE, Step.TLS_ASKED): State.TLS,
    (State.TLS, Step.TLS_STARTED): State.RESPONSE,
    (State.RESPONSE, Step.SWITCH_SENT): State.SWITCHED,
    (State.RESPONSE, Step.PASSWORD_ASKED): State.PASSWORD,
    (State.SWITCHED, Step.PASSWORD_ASKED): State.PASSWORD,
    (State.PASSWORD, Step.KEY_SENT): State.ENCRYPTED,
    (State.RESPONSE, Step.ENDED): State.DONE,
    (State.SWITCHED, Step.ENDED): State.DONE,
    (State.PASSWORD, Step.ENDED): State.DONE,
    (State.ENCRYPTED, Step.ENDED): State.DONE,
}


class ClientLogin:
    """One login. `greeting` is what `start` sends; its scramble must be fresh (`auth.new_scramble`).

    `sha2_cache` may be shared by all logins. Without `rsa_key`, a password in full is only accepted over TLS (`secure`:
    or by a Unix socket, where a client may ask for TLS all the same). Calls in the wrong order raise Defect.
    """

    def __init__(
        self,
        greeting: Greeting,
        accounts: AccountSource,
        client_host: str,
        *,
        tls_available: bool,
        tls_required: bool,
        secure: bool = False,
        rsa_key: RSAPrivateKey | None = None,
        sha2_cache: auth.Sha2Cache | None = None,
        new_scramble: Callable[[], bytes] = auth.new_scramble,
    ) -> None:
        self._greeting = greeting
        self._offered = greeting.capabilities | capability.SSL
        if not tls_available:
            self._offered &= ~capability.SSL
        self._accounts = accounts
        self._client_host = client_host
        self._tls_required = tls_required
        self._secure = secure
        self._in_tls = False
        self._rsa_key = rsa_key
        self._sha2_cache = sha2_cache if sha2_cache is not None else auth.Sha2Cache(1)
        self._new_scramble = new_scramble
        self._scramble = greeting.scramble
        self._state = State.GREETING
        self._reader = frames.FrameReader(MAX_HELD - frames.HEADER)
        self._expected = 0  # sequence id of the client's next packet
        self._changing_user = False
        self._peer_certificate: Mapping[str, object] | None = None
        self._claim: Claim | None = None
        self._account: Account | None = None

    @property
    def done(self) -> bool:
        """Whether the login is over, one way or the other."""
        return self._state is State.DONE

    @property
    def pending(self) -> int:
        """Bytes held."""
        return self._reader.pending

    def start(self) -> list[ClientEvent]:
        """Sends the greeting."""
        self._move(Step.STARTED)
        greeting = replace(self._greeting, capabilities=self._offered)
        return [self._send(greeting.encode(), 0)]

    def start_change_user(self, payload: bytes, capabilities: int, sequence: int = 0) -> list[ClientEvent]:
        """Instead of `start`: takes COM_CHANGE_USER, command byte and all, of a client with these `capabilities`.

        The greeting's scramble must be the `scramble` of that client's Accepted.
        """
        self._move(Step.USER_CHANGED)
        self._changing_user = True
        self._expected = (sequence + 1) & 0xFF
        try:
            change = parse_change_user(payload, capabilities)
            return self._identify(
                HandshakeResponse(
                    capabilities,
                    0,
                    self._greeting.charset if change.charset is None else change.charset,
                    change.user,
                    change.auth_response,
                    change.database,
                    change.plugin,
                    change.attributes,
                )
            )
        except ProtocolError as error:
            return self._reject(error)

    def tls_started(self, peer_certificate: Mapping[str, object] | None = None) -> list[ClientEvent]:
        """Goes on inside TLS, with the client's certificate if it sent one that was verified."""
        self._move(Step.TLS_STARTED)
        self._secure = self._in_tls = True
        self._peer_certificate = peer_certificate
        return []

    def receive(self, data: bytes) -> list[ClientEvent]:
        """Takes bytes from the client."""
        if self.done:
            return [Closed()]
        if self._state in (State.GREETING, State.TLS):
            raise Defect(f"bytes of a client that {self._state.value}")
        events: list[ClientEvent] = []
        try:
            if self._state is State.RESPONSE and not self._reader.pending and data[:4] in _PROXY_STARTS:
                raise ProtocolError(
                    f"Bad handshake: a PROXY protocol header from {self._client_host}, which is not in "
                    "listen.proxy_protocol",
                    1043,
                    "08S01",
                )
            self._reader.append(data)
            while self._state not in (State.DONE, State.TLS):
                packet = self._reader.next_payload()
                if packet is None:
                    break
                payload, sequence = packet
                if sequence != self._expected:
                    raise ProtocolError("Got packets out of order", 1156, "08S01")
                self._expected = (sequence + 1) & 0xFF
                events += self._take(payload)
            if not self.done and self._reader.pending > MAX_HELD:
                raise bad_handshake()
        except ProtocolError as error:
            if error.errno in (1153, 1156):  # raised before the packet was counted
                self._expected = (self._expected + 1) & 0xFF
            events += self._reject(error)
        return events

    def _take(self, payload: bytes) -> list[ClientEvent]:
        if self._state is State.RESPONSE:
            return self._take_response(payload)
        if self._state is State.SWITCHED:
            return self._prove(payload)
        if self._state is State.PASSWORD:
            return self._take_password(payload)
        return self._take_encrypted(payload)

    def _take_response(self, payload: bytes) -> list[ClientEvent]:
        response = parse_response(payload)
        if isinstance(response, SslRequest):
            if self._in_tls or not self._offered & capability.SSL:
                raise bad_handshake()
            self._move(Step.TLS_ASKED)
            return [StartTls(self._reader.take_pending())]
        return self._identify(response)

    def _identify(self, response: HandshakeResponse) -> list[ClientEvent]:
        claim = read_claim(response, self._offered, self._greeting.charset)
        self._claim = claim
        if self._tls_required and not self._secure:
            return self._reject(
                ProtocolError(
                    "Connections using insecure transport are prohibited while --require_secure_transport=ON.",
                    3159,
                    "HY000",
                )
            )
        if not claim.capabilities & capability.SECURE_CONNECTION:
            return self._reject(client_too_old())
        account = self._accounts(claim.user, self._client_host)
        self._account = decoy(claim.user) if account is None else account
        possible = self._account.plugins()
        if not possible:
            return self._deny("what is known of the account's password does not fit its plugin")
        if claim.plugin in possible:
            return self._prove(claim.proof)
        return self._switch(self._greeting.plugin if self._greeting.plugin in possible else possible[0])

    def _switch(self, plugin: str) -> list[ClientEvent]:
        claim, _ = self._claimed()
        if not claim.capabilities & capability.PLUGIN_AUTH:
            return self._reject(client_too_old())
        self._scramble = self._new_scramble()
        self._claim = replace(claim, plugin=plugin, proof=b"")
        self._move(Step.SWITCH_SENT)
        return [self._answer(AuthSwitch(plugin, self._scramble).encode())]

    def _prove(self, proof: bytes) -> list[ClientEvent]:
        claim, account = self._claimed()
        if claim.plugin == NATIVE:
            return self._prove_native(proof, account)
        return self._prove_sha2(proof, claim, account)

    def _prove_native(self, proof: bytes, account: Account) -> list[ClientEvent]:
        if not proof:
            return self._prove_empty(account)
        if len(proof) != 20:
            raise bad_handshake()
        stored = account.native_hash if account.password is None else auth.native_stage2(account.password)
        stage1 = auth.native_check(proof, self._scramble, stored) if stored and account.password != b"" else None
        if stage1 is None:
            return self._wrong_proof()
        return self._accept(_secret(account) if account.password is not None else Secret(native_stage1=stage1))

    def _prove_sha2(self, proof: bytes, claim: Claim, account: Account) -> list[ClientEvent]:
        if proof in (b"", b"\0"):
            return self._prove_empty(account)
        if len(proof) != 32:
            raise bad_handshake()
        if account.password is not None:
            right = account.password and auth.sha2_check(proof, self._scramble, auth.sha2_stage2(account.password))
            if not right:
                return self._ask_password()
            secret = _secret(account)
        else:
            stored = self._sha2_cache.get(claim.user, account.sha2_crypt or b"")
            stage1 = auth.sha2_check(proof, self._scramble, stored) if stored else None
            if stage1 is None:  # not known, or wrong: only the password itself can tell
                return self._ask_password()
            secret = Secret(sha2_stage1=stage1)
        return [self._more(_FAST_OK), *self._accept(secret)]

    def _ask_password(self) -> list[ClientEvent]:
        """Full authentication, as MySQL goes on after any fast proof that it cannot accept (sha2_password.cc).

        Some clients get their proof wrong after an auth switch (they hash the scramble's closing NUL) and rely on this.
        It is the way for every account, also one without a password or unknown: who asks learns nothing from it.
        """
        if self._changing_user and self._state is State.RESPONSE:
            return self._wrong_proof()
        self._move(Step.PASSWORD_ASKED)
        return [self._more(_FULL_PLEASE)]

    def _prove_empty(self, account: Account) -> list[ClientEvent]:
        if account.password == b"":
            return self._accept(_secret(account))
        return self._wrong_proof(using_password=False)

    def _wrong_proof(self, using_password: bool = True) -> list[ClientEvent]:
        claim, _ = self._claimed()
        if self._changing_user and self._state is State.RESPONSE and claim.capabilities & capability.PLUGIN_AUTH:
            # Clients disagree about which scramble COM_CHANGE_USER goes by; with a new one there is no doubt.
            return self._switch(claim.plugin)
        return self._deny("wrong password or unknown user", using_password)

    def _take_password(self, payload: bytes) -> list[ClientEvent]:
        if self._secure:
            return self._check_password(payload[:-1] if payload.endswith(b"\0") else None)
        if payload != _KEY_PLEASE:
            return self._take_encrypted(payload)
        if self._rsa_key is None:
            return self._deny("the client wants to encrypt its password, and no RSA key is set up")
        self._move(Step.KEY_SENT)
        return [self._more(auth.public_key_pem(self._rsa_key))]

    def _take_encrypted(self, payload: bytes) -> list[ClientEvent]:
        if self._rsa_key is None:
            return self._deny("the client sent its password encrypted, and no RSA key is set up")
        return self._check_password(auth.rsa_decrypt(payload, self._scramble, self._rsa_key))

    def _check_password(self, password: bytes | None) -> list[ClientEvent]:
        claim, account = self._claimed()
        if not password or len(password) > MAX_PASSWORD:
            return self._deny("wrong password or unknown user")
        if account.password is not None:
            # Of digests, as a comparison of the passwords themselves may tell their lengths by the time it takes.
            if not hmac.compare_digest(auth.sha2_stage1(password), auth.sha2_stage1(account.password)):
                return self._deny("wrong password or unknown user")
            return self._accept(_secret(account))
        stored = account.sha2_crypt or b""
        if not auth.sha2_crypt_check(password, stored):
            return self._deny("wrong password or unknown user")
        self._sha2_cache.remember(claim.user, stored, password)
        return self._accept(Secret.of_password(password))

    def _accept(self, secret: Secret) -> list[ClientEvent]:
        claim, account = self._claimed()
        self._move(Step.ENDED)
        sequence = self._expected
        return [
            Accepted(
                account,
                claim.user,
                claim.database,
                claim.charset,
                claim.capabilities,
                claim.attributes,
                secret,
                sequence,
                self._reader.take_pending(),
                self._scramble,
                claim.max_packet,
                self._peer_certificate,
            )
        ]

    def _deny(self, reason: str, using_password: bool = True) -> list[ClientEvent]:
        claim, _ = self._claimed()
        message = (
            f"Access denied for user '{claim.user[:MAX_NAME_SHOWN]}'@'{self._client_host}' "
            f"(using password: {'YES' if using_password else 'NO'})"
        )
        return self._reject(ProtocolError(message, 1045, "28000"), reason)

    def _reject(self, error: ProtocolError, reason: str = "") -> list[ClientEvent]:
        self._move(Step.ENDED)
        self._reader.discard()
        data = frames.encode(packets.encode_err(error.errno, error.sqlstate, error.message), self._expected)
        user = self._claim.user if self._claim else ""
        return [Rejected(data, error.errno, user, reason or error.message)]

    def _more(self, data: bytes) -> SendBytes:
        """Data of the plugin's dialogue, for a Connector/J that takes the server for one of before 5.5.16 without the
        byte that says so: it gives its plugin the packet from that byte on ("old raw challenge" in its source). It
        does with every MariaDB whose greeting begins with 5.5.5, which has no such dialogue itself."""
        claim, _ = self._claimed()
        misread = claim.attributes.get(b"_client_name") in _CONNECTORS_J
        if misread and self._greeting.server_version.startswith(_MARIADB_STARTS):
            return self._answer(data)
        return self._answer(AuthMoreData(data).encode())

    def _answer(self, payload: bytes) -> SendBytes:
        return self._send(payload, self._expected)

    def _send(self, payload: bytes, sequence: int) -> SendBytes:
        self._expected = (sequence + 1) & 0xFF
        return SendBytes(frames.encode(payload, sequence))

    def _claimed(self) -> tuple[Claim, Account]:
        if self._claim is None or self._account is None:
            raise Defect(f"a client that {self._state.value} has not said who it is")
        return self._claim, self._account

    def _move(self, step: Step) -> None:
        following = _NEXT.get((self._state, step))
        if following is None:
            raise Defect(f"{step.name} does not follow for a client that {self._state.value}")
        self._state = following


def _secret(account: Account) -> Secret:
    return Secret() if account.password is None else Secret.of_password(account.password)
