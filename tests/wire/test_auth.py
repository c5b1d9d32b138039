from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from pymysql import _auth

from proxy.errors import ProtocolError
from proxy.wire import auth

passwords = st.binary(min_size=1, max_size=60)
scrambles = st.binary(min_size=20, max_size=20)


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@given(passwords, scrambles)
def test_proofs_are_those_of_pymysql(password: bytes, scramble: bytes) -> None:
    assert auth.native_response(password, scramble) == _auth.scramble_native_password(password, scramble)
    assert auth.sha2_response(password, scramble) == _auth.scramble_caching_sha2(password, scramble)


def test_the_empty_password_has_an_empty_proof() -> None:
    assert auth.native_response(b"", bytes(20)) == _auth.scramble_native_password(b"", bytes(20)) == b""
    assert auth.sha2_response(b"", bytes(20)) == _auth.scramble_caching_sha2(b"", bytes(20)) == b""


@given(passwords, scrambles, scrambles)
def test_a_right_native_proof_reveals_what_logs_in_elsewhere(password: bytes, here: bytes, there: bytes) -> None:
    proof = _auth.scramble_native_password(password, here)
    stage1 = auth.native_check(proof, here, auth.native_stage2(password))
    assert stage1 is not None
    assert auth.native_response_from_stage1(stage1, there) == _auth.scramble_native_password(password, there)


@given(passwords, scrambles, scrambles)
def test_a_right_sha2_proof_reveals_what_logs_in_elsewhere(password: bytes, here: bytes, there: bytes) -> None:
    proof = _auth.scramble_caching_sha2(password, here)
    stage1 = auth.sha2_check(proof, here, auth.sha2_stage2(password))
    assert stage1 is not None
    assert auth.sha2_response_from_stage1(stage1, there) == _auth.scramble_caching_sha2(password, there)


@given(passwords, passwords, scrambles)
def test_a_wrong_password_proves_nothing(password: bytes, other: bytes, scramble: bytes) -> None:
    if password == other:
        other += b"!"
    assert auth.native_check(auth.native_response(other, scramble), scramble, auth.native_stage2(password)) is None
    assert auth.sha2_check(auth.sha2_response(other, scramble), scramble, auth.sha2_stage2(password)) is None


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_proof_or_hash_of_another_length_proves_nothing(proof: bytes, stored: bytes) -> None:
    assert auth.native_check(proof, bytes(20), stored) is None
    assert auth.sha2_check(proof, bytes(20), stored) is None


def test_the_hash_in_grant_tables() -> None:
    # SELECT PASSWORD('mypass')
    assert auth.native_stage2(b"mypass").hex().upper() == "6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4"


def test_scrambles_are_fresh_and_printable() -> None:
    found = {auth.new_scramble() for _ in range(200)}
    assert len(found) == 200
    for scramble in found:
        assert len(scramble) == 20
        assert all(0x20 < byte < 0x7F and byte != ord("$") for byte in scramble)


# hashcat's example of mode 7401 (password "hashcat").
SALT = bytes.fromhex("F9CC98CE08892924F50A213B6BC571A2C11778C5")
STORED = b"$A$005$" + SALT + b"bTy95Y99eAME1dwEkHOA1ndHGBWz.1bxSSRkuTXFGV/"


def test_sha256_crypt_as_mysql_stores_it() -> None:
    assert auth.sha2_crypt(b"hashcat", SALT) == STORED
    assert auth.sha2_crypt_check(b"hashcat", STORED)
    assert not auth.sha2_crypt_check(b"hashcat!", STORED)
    assert not auth.sha2_crypt_check(b"", STORED)


@pytest.mark.parametrize("password", [b"x", b"y" * 31, b"y" * 32, b"y" * 33, b"z" * 256])
def test_sha256_crypt_of_every_length(password: bytes) -> None:
    stored = auth.sha2_crypt(password, SALT, 1000)
    assert auth.sha2_crypt_check(password, stored)
    assert not auth.sha2_crypt_check(password[:-1] + b"!", stored)


@pytest.mark.parametrize(
    "stored",
    [b"", STORED[:-1], STORED + b"x", b"$B" + STORED[2:], b"$A$xyz" + STORED[6:], b"$A$000" + STORED[6:], b"*" * 70],
)
def test_what_is_no_such_hash_is_nobodys(stored: bytes) -> None:
    assert not auth.sha2_crypt_check(b"hashcat", stored)


@given(st.binary(max_size=80))
def test_garbage_is_no_such_hash(stored: bytes) -> None:
    assert not auth.sha2_crypt_check(b"hashcat", stored)


@pytest.mark.parametrize("password", [b"x", b"y" * 19, b"y" * 20, b"y" * 150])
def test_encrypted_passwords(rsa_key: rsa.RSAPrivateKey, password: bytes) -> None:
    scramble = auth.new_scramble()
    public = auth.public_key_pem(rsa_key)
    assert auth.rsa_decrypt(auth.rsa_encrypt(password, scramble, public), scramble, rsa_key) == password
    assert auth.rsa_decrypt(_auth.sha2_rsa_encrypt(password, scramble, public), scramble, rsa_key) == password


def test_what_is_encrypted_otherwise_is_none(rsa_key: rsa.RSAPrivateKey) -> None:
    for garbage in (b"", b"x" * 255, b"x" * 256, b"\0" * 256, b"x" * 1000):
        assert auth.rsa_decrypt(garbage, auth.new_scramble(), rsa_key) is None


def test_keys_that_do_not_fit_are_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for public in (b"", b"garbage", pem):
        with pytest.raises(ProtocolError):
            auth.rsa_encrypt(b"x", auth.new_scramble(), public)
    with pytest.raises(ProtocolError):
        auth.rsa_encrypt(b"x" * 300, auth.new_scramble(), auth.public_key_pem(rsa_key))


def test_the_cache_is_bounded_and_forgets_the_least_used() -> None:
    cache = auth.Sha2Cache(2)
    cache.remember("a", b"h", b"pa")
    cache.remember("b", b"h", b"pb")
    assert cache.get("a", b"h") == auth.sha2_stage2(b"pa")
    cache.remember("c", b"h", b"pc")
    assert len(cache) == 2
    assert cache.get("b", b"h") is None
    assert cache.get("a", b"changed") is None
    cache.forget("a", b"h")
    assert cache.get("a", b"h") is None
