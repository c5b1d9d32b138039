"""How passwords are proven: scrambles and hashes of mysql_native_password and caching_sha2_password.

mysql_native_password (`sql/auth/password.cc`): the server stores stage2 = SHA1(SHA1(password)); the client sends
SHA1(password) XOR SHA1(scramble + stage2). caching_sha2_password (`sql/auth/sha2_password.cc`): the server caches
SHA256(SHA256(password)); the client sends SHA256(password) XOR SHA256(SHA256(SHA256(password)) + scramble). In both
the server that knows the stored hash recovers the first digest, which is enough to log in elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from proxy.errors import ProtocolError
from proxy.wire.handshake import SCRAMBLE_LENGTH
from proxy.wire.sha256_crypt import sha256_crypt

_CRYPT_PREFIX = b"$A$"
_CRYPT_SALT = 20
_CRYPT_HASH = 43
_MAX_ROUNDS = 0xFFF * 1000
# Printable and without "$": MySQL keeps both NUL and "$" out, and some clients stop at others.
_SCRAMBLE_ALPHABET = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("$"))


def new_scramble() -> bytes:
    return bytes(secrets.choice(_SCRAMBLE_ALPHABET) for _ in range(SCRAMBLE_LENGTH))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _sha1(*parts: bytes) -> bytes:
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()


def _sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def native_stage1(password: bytes) -> bytes:
    return _sha1(password)


def native_stage2(password: bytes) -> bytes:
    """What grant tables hold, in hexadecimal behind a "*"."""
    return _sha1(_sha1(password))


def native_response(password: bytes, scramble: bytes) -> bytes:
    """The proof of mysql_native_password; empty for the empty password."""
    return native_response_from_stage1(_sha1(password), scramble) if password else b""


def native_response_from_stage1(stage1: bytes, scramble: bytes) -> bytes:
    return _xor(stage1, _sha1(scramble, _sha1(stage1)))


def native_check(response: bytes, scramble: bytes, stage2_hash: bytes) -> bytes | None:
    """SHA1(password) if the 20-byte response proves it, else None."""
    if len(response) != 20 or len(stage2_hash) != 20:
        return None
    stage1 = _xor(response, _sha1(scramble, stage2_hash))
    return stage1 if hmac.compare_digest(_sha1(stage1), stage2_hash) else None


def sha2_stage1(password: bytes) -> bytes:
    return _sha256(password)


def sha2_stage2(password: bytes) -> bytes:
    """SHA256(SHA256(password)): what the fast path is checked against."""
    return _sha256(_sha256(password))


def sha2_response(password: bytes, scramble: bytes) -> bytes:
    """The proof of caching_sha2_password's fast path; empty for the empty password."""
    return sha2_response_from_stage1(_sha256(password), scramble) if password else b""


def sha2_response_from_stage1(stage1: bytes, scramble: bytes) -> bytes:
    return _xor(stage1, _sha256(_sha256(stage1), scramble))


def sha2_check(response: bytes, scramble: bytes, stage2_hash: bytes) -> bytes | None:
    """SHA256(password) if the 32-byte response proves it, else None."""
    if len(response) != 32 or len(stage2_hash) != 32:
        return None
    stage1 = _xor(response, _sha256(stage2_hash, scramble))
    return stage1 if hmac.compare_digest(_sha256(stage1), stage2_hash) else None


def sha2_crypt_check(password: bytes, stored: bytes) -> bool:
    """Whether `stored`, an authentication_string `$A$005$` + 20 bytes of salt + 43 characters, is the password's.

    Takes about 5 ms with the usual 5000 rounds. A string of another form is nobody's.
    """
    parsed = _parse_crypt(stored)
    if parsed is None:
        return False
    rounds, salt, digest = parsed
    return hmac.compare_digest(sha256_crypt(password, salt, rounds), digest)


def sha2_crypt(password: bytes, salt: bytes, rounds: int = 5000) -> bytes:
    """The authentication_string of an account with this password; `salt` is 20 bytes."""
    return b"$A$%03X$" % (rounds // 1000) + salt + sha256_crypt(password, salt, rounds)


def _parse_crypt(stored: bytes) -> tuple[int, bytes, bytes] | None:
    if len(stored) != 7 + _CRYPT_SALT + _CRYPT_HASH or not stored.startswith(_CRYPT_PREFIX) or stored[6:7] != b"$":
        return None
    digits = stored[3:6]
    if not all(digit in b"0123456789ABCDEFabcdef" for digit in digits) or digits == b"000":
        return None
    return min(int(digits, 16) * 1000, _MAX_ROUNDS), stored[7:27], stored[27:]


class Sha2Cache:
    """SHA256(SHA256(password)) of accounts that proved their password in full, the least recently used forgotten.

    The key holds the stored hash, so that a changed password is not found.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._entries: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, user: str, stored: bytes) -> bytes | None:
        found = self._entries.get((user, stored))
        if found is not None:
            self._entries.move_to_end((user, stored))
        return found

    def remember(self, user: str, stored: bytes, password: bytes) -> None:
        self._entries[(user, stored)] = sha2_stage2(password)
        self._entries.move_to_end((user, stored))
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def forget(self, user: str, stored: bytes) -> None:
        """Makes the next login of this account prove its password in full, which tells it to us."""
        self._entries.pop((user, stored), None)


def _obfuscate(text: bytes, scramble: bytes) -> bytes:
    repeated = scramble * (len(text) // len(scramble) + 1)
    return _xor(text, repeated[: len(text)])


def _oaep() -> padding.OAEP:
    return padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # SHA-1 is what the protocol defines


def public_key_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def rsa_encrypt(password: bytes, scramble: bytes, public_key: bytes) -> bytes:
    """The password, NUL-ended and XORed with the scramble, for the owner of a PEM public key.

    Raises ProtocolError when the key is none, or too short for the password.
    """
    try:
        key = serialization.load_pem_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ProtocolError("The server's public key cannot be read") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise ProtocolError("The server's public key is not an RSA key")
    try:
        return key.encrypt(_obfuscate(password + b"\0", scramble), _oaep())
    except ValueError as error:
        raise ProtocolError("The server's public key is too short for the password") from error


def rsa_decrypt(encrypted: bytes, scramble: bytes, key: rsa.RSAPrivateKey) -> bytes | None:
    """The password out of `rsa_encrypt`'s result; None when it is not for this key or scramble."""
    try:
        text = _obfuscate(key.decrypt(encrypted, _oaep()), scramble)
    except ValueError:
        return None
    return text[:-1] if text.endswith(b"\0") else None
