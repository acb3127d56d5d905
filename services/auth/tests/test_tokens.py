"""Attacks on access tokens (S4), against the real service and the verifier that every service uses."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from docuchat_auth.signing_keys.domain import SigningAlgorithm, SigningKey
from docuchat_auth.signing_keys.sealing import SealedKeyForge
from docuchat_common.errors import Unauthenticated
from docuchat_common.http.identity import TokenVerifier, keys_of_auth
from docuchat_testkit.eventually import eventually

SECRET = "a-secret-of-the-tests-that-is-long-enough"


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


class Attacker:
    """Knows a good token, the published keys, and, to make one wrong at a time, the real private key."""

    def __init__(self, token: str, jwks: dict[str, Any], key: SigningKey) -> None:
        self.token = token
        self.jwks = jwks
        self.key = key
        self.header = jwt.get_unverified_header(token)
        self.claims = jwt.decode(token, options={"verify_signature": False})
        self.forge = SealedKeyForge(SECRET)

    def signed(self, claims: dict[str, Any]) -> str:
        return self.forge.sign(self.key, claims)

    def changed(self, **claims: Any) -> str:
        merged = {**self.claims, **claims}
        return self.signed({name: value for name, value in merged.items() if value is not None})

    def unsigned(self, algorithm: str) -> str:
        return f"{encoded({**self.header, 'alg': algorithm})}.{encoded(self.claims)}."

    def hmac_with(self, secret: bytes) -> str:
        head = f"{encoded({**self.header, 'alg': 'HS256'})}.{encoded(self.claims)}"
        signature = hmac.new(secret, head.encode(), hashlib.sha256).digest()
        return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def with_own_key(self, **header: Any) -> str:
        own = ed25519.Ed25519PrivateKey.generate()
        public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(own.public_key()))
        headers = {name: (public if value == "PUBLIC" else value) for name, value in header.items()}
        return jwt.encode(self.claims, own, algorithm="EdDSA", headers={"kid": self.key.kid, **headers})

    def tampered(self) -> str:
        header, _, signature = self.token.split(".")
        return f"{header}.{encoded({**self.claims, 'role': 'owner', 'tenant': 2})}.{signature}"


def public_pem(attacker: Attacker) -> bytes:
    public = jwt.PyJWK.from_dict(attacker.jwks["keys"][0]).key
    return bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


def public_raw(attacker: Attacker) -> bytes:
    return base64.urlsafe_b64decode(attacker.jwks["keys"][0]["x"] + "==")


ATTACKS: dict[str, Callable[[Attacker], str]] = {
    "alg none": lambda it: it.unsigned("none"),
    "alg None": lambda it: it.unsigned("None"),
    "alg missing": lambda it: f"{encoded({'kid': it.key.kid})}.{encoded(it.claims)}.",
    "HS256 with the public key as PEM": lambda it: it.hmac_with(public_pem(it)),
    "HS256 with the public key's bytes": lambda it: it.hmac_with(public_raw(it)),
    "HS256 with the public JWK": lambda it: it.hmac_with(json.dumps(it.jwks["keys"][0]).encode()),
    "HS256 with nothing": lambda it: it.hmac_with(b""),
    "HS256 with JWT_SECRET": lambda it: it.hmac_with(SECRET.encode()),
    "RS256 under a known kid": lambda it: jwt.encode(
        it.claims,
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
        algorithm="RS256",
        headers={"kid": it.key.kid},
    ),
    "ES256 under an EdDSA kid": lambda it: jwt.encode(
        it.claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": it.key.kid}
    ),
    "own key under a known kid": lambda it: it.with_own_key(),
    "own key in the header": lambda it: it.with_own_key(jwk="PUBLIC"),
    "own key at a URL": lambda it: it.with_own_key(jku="http://127.0.0.1:1/jwks.json", x5u="http://127.0.0.1:1/x"),
    "unknown kid": lambda it: it.with_own_key(kid="unknown"),
    "kid is a path": lambda it: it.with_own_key(kid="../../../../dev/null"),
    "kid is SQL": lambda it: it.with_own_key(kid="' UNION SELECT 'x"),
    "kid is empty": lambda it: it.with_own_key(kid=""),
    "kid is enormous": lambda it: it.with_own_key(kid="k" * 6000),
    "claims changed": lambda it: it.tampered(),
    "signature cut": lambda it: it.token[:-8],
    "signature missing": lambda it: it.token.rpartition(".")[0] + ".",
    "not a token": lambda _: "not.a.token",
    "one part": lambda _: "token",
    "wrong issuer": lambda it: it.changed(iss="somebody"),
    "no issuer": lambda it: it.changed(iss=None),
    "wrong audience": lambda it: it.changed(aud="other"),
    "no audience": lambda it: it.changed(aud=None),
    "expired": lambda it: it.changed(exp=int(time.time()) - 5),
    "no expiry": lambda it: it.changed(exp=None),
    "not a time": lambda it: it.changed(exp="tomorrow"),
    "from the future": lambda it: it.changed(iat=int(time.time()) + 3600),
    "not yet valid": lambda it: it.changed(nbf=int(time.time()) + 3600),
    "refresh type": lambda it: it.changed(typ="refresh"),
    "no type": lambda it: it.changed(typ=None),
    "no subject": lambda it: it.changed(sub=None),
    "subject is no user id": lambda it: it.changed(sub="root"),
    "no tenant": lambda it: it.changed(tenant=None),
    "tenant is no id": lambda it: it.changed(tenant="demo"),
}


async def attacker_of(auth: Any) -> Attacker:
    tokens = await auth.tokens_of("user@example.com")
    jwks = (await auth.http.get("/.well-known/jwks.json")).json()
    (row,) = await auth.query("SELECT * FROM auth.signing_keys")
    key = SigningKey(
        row["kid"],
        SigningAlgorithm(row["algorithm"]),
        json.loads(row["public_jwk"]),
        row["sealed_private_key"],
        row["created_at"],
        row["not_before"],
        row["retired_at"],
    )
    return Attacker(tokens["access_token"], jwks, key)


async def test_every_attack_is_refused(auth: Any) -> None:
    attacker = await attacker_of(auth)
    session_url = f"{auth.url}/.well-known/jwks.json"
    import aiohttp

    async with aiohttp.ClientSession() as session:
        verifier = TokenVerifier(keys_of_auth(session, session_url), issuer="docuchat", audience="docuchat")
        assert (await verifier.verify(attacker.changed())).caller.tenant_id == 1  # the forger's hand itself is right
        through = []
        for name, attack in ATTACKS.items():
            token = attack(attacker)
            answer = await auth.http.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"})
            if answer.status_code != 401 or answer.headers.get("www-authenticate") != "Bearer":
                through.append((name, "route", answer.status_code))
            try:
                await verifier.verify(token)
            except Unauthenticated:
                continue
            through.append((name, "verifier", 0))
    assert through == []


async def test_a_good_token_of_a_user_who_is_gone_or_closed_reads_nothing(auth: Any) -> None:
    attacker = await attacker_of(auth)
    other = {"Authorization": f"Bearer {attacker.changed(sub=str(uuid4()))}"}
    assert (await auth.http.get("/v1/users/me", headers=other)).status_code == 401
    await auth.query("UPDATE auth.users SET is_active = false")
    bearer = {"Authorization": f"Bearer {attacker.token}"}
    answer = await auth.http.get("/v1/users/me", headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (401, "user_gone")


async def test_a_user_reads_nothing_under_another_tenant(auth: Any) -> None:
    await auth.create_tenant("second")
    attacker = await attacker_of(auth)
    crossed = {"Authorization": f"Bearer {attacker.changed(tenant=2, tenant_slug='second')}"}
    assert (await auth.http.get("/v1/users/me", headers=crossed)).status_code == 401


async def test_the_key_set_is_public_only_and_cacheable(auth: Any) -> None:
    answer = await auth.http.get("/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    (key,) = answer.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "alg", "use"}


async def test_rotation_loses_no_request(run_auth: Any) -> None:
    unlimited = {"CODE_SENDS_PER_EMAIL": "100000/minute", "REFRESHES_PER_SESSION": "100000/minute"}
    async with run_auth(SIGNING_KEY_PUBLISH_AHEAD="2s", **unlimited) as auth:
        tokens = await auth.tokens_of("user@example.com")
        first_kid = jwt.get_unverified_header(tokens["access_token"])["kid"]
        statuses: list[int] = []
        done = asyncio.Event()

        async def keep_asking(number: int) -> str:
            """Signs in, then asks with every token there is, and refreshes, without a pause."""
            mine = await auth.tokens_of(f"user{number}@example.com")
            held = [mine["access_token"]]
            while not done.is_set():
                for token in (held[0], held[-1]):
                    answer = await auth.http.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"})
                    statuses.append(answer.status_code)
                answer = await auth.post("/v1/auth/refresh", {"refresh_token": mine["refresh_token"]})
                statuses.append(answer.status_code)
                mine = answer.json()
                held.append(mine["access_token"])
            return str(jwt.get_unverified_header(held[-1])["kid"])

        askers = [asyncio.create_task(keep_asking(number)) for number in range(4)]
        output = await asyncio.to_thread(auth.command, "rotate-keys")
        new_kid = output.rpartition("key ")[2].split(" ")[0]

        async def signs() -> bool:
            fresh = await auth.tokens_of("late@example.com")
            return bool(jwt.get_unverified_header(fresh["access_token"])["kid"] == new_kid)

        await eventually(signs)
        done.set()
        kids = set(await asyncio.gather(*askers))
        assert kids == {new_kid}
        assert new_kid != first_kid
        assert set(statuses) == {200}
        assert len(statuses) > 50
