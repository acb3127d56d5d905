"""pgvector's half-precision vectors in binary, from and to numpy."""

from __future__ import annotations

import struct

import asyncpg
import numpy as np
import numpy.typing as npt

HALFVEC = np.dtype(">f2")
"""Elements as they travel: IEEE 754 half precision, network order (pgvector `halfvec_send`)."""
_HEADER = struct.Struct(">HH")


def encode(vector: npt.NDArray[np.floating]) -> bytes:
    """(d,) of any float type to pgvector's binary form: dimension, zero, elements."""
    return _HEADER.pack(len(vector), 0) + vector.astype(HALFVEC, copy=False).tobytes()


def decode(body: bytes) -> npt.NDArray[np.float32]:
    """Pgvector's binary form to (d,) float32."""
    return np.frombuffer(body, HALFVEC, offset=_HEADER.size).astype(np.float32)


async def register_halfvec(connection: asyncpg.Connection) -> None:
    """Let the connection carry the type as `encode` and `decode` have it (bytes); cheap to repeat.

    Bytes, because asyncpg would take an array for a nested one. Done where vectors are written rather than for every
    connection, since most of a pool's never carry one.
    """
    await connection.set_type_codec("halfvec", schema="public", encoder=bytes, decoder=bytes, format="binary")
