"""Stable hashes: over the length-prefixed parts, whatever their lengths and characters."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import length_prefixed, stable_hash

_texts = st.text(max_size=300) | st.builds(
    lambda letter, size: letter * size, st.characters(), st.integers(0, 300)
)


@given(st.lists(_texts, max_size=4))
def test_a_stable_hash_is_over_the_length_and_text_of_each_part(parts):
    hashed = b"".join(map(length_prefixed, parts))
    assert stable_hash(*parts) == sha256(hashed).hexdigest()
    lengths = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    assert len(hashed) == sum(lengths) + 4 * len(parts)
