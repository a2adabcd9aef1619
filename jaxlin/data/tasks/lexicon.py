"""Words, numbers and identifiers to make needles and haystacks of."""

from __future__ import annotations

import uuid

import numpy as np

QUALITIES = """
amber ancient azure bold brisk broad calm careful clever cold crisp curious deep dusty eager early
fair faint fierce gentle golden grand green hidden hollow honest humble idle keen late lively
lonely long lucky mellow mild modest narrow noble odd pale patient plain polite proud quick quiet
rapid rare restless rough round rusty secret shy silent silver simple sleepy slow small soft
solemn steady stern strange strong sturdy subtle sudden sunny swift tall tender thin tidy tiny
vivid warm weary wide wild wise witty wooden young
""".split()
THINGS = """
anchor apple arch arrow barn basket beacon bell boat book bottle bridge brook broom bucket button
candle canyon carpet castle cellar chair cliff clock cloud coat compass copper corner cottage
cradle crown curtain desert door drum engine falcon feather fence ferry field flag flute forest
fox garden gate glass glove harbor hammer hat heron hill horse island jar kettle key kite ladder
lake lamp lantern leaf letter lion map maple market meadow mirror moon mountain needle nest oak
ocean orchard otter paddle paper path pebble pencil piano pillow pine plum pocket pond quarry
rabbit raft rain ribbon ring river road robin rope saddle sail sea shell shore shovel sparrow
spoon spring stable star stone storm stream table temple thread tower train tree trumpet tunnel
valley vessel village violin wagon wall water wheel willow window winter wolf yard
""".split()
DEEDS = """
admires avoids borrows builds carries changes chooses clears counts covers crosses draws drops
explains fears finds follows forgets gathers greets guards hears helps holds invents joins keeps
knows leads leaves lifts likes loses meets mends minds misses moves needs notices opens paints
passes praises reaches reads recalls remembers repairs returns sees seeks sells sends shapes
shares shows studies teaches tells touches trusts turns values visits wants warns watches weighs
""".split()


def different(random: np.random.Generator, count: int) -> list[str]:
    """`count` different keys such as `calm-lantern`."""
    picked = random.permutation(len(QUALITIES) * len(THINGS))[:count]
    return [f"{QUALITIES[i // len(THINGS)]}-{THINGS[i % len(THINGS)]}" for i in picked]


def number(random: np.random.Generator, digits: int = 7) -> str:
    """A number that begins with no zero."""
    return str(int(random.integers(10 ** (digits - 1), 10**digits)))


def identifier(random: np.random.Generator) -> str:
    """A UUID."""
    return str(uuid.UUID(bytes=random.bytes(16), version=4))


def code(random: np.random.Generator, letters: int = 6) -> str:
    """Random small letters."""
    return "".join(chr(97 + int(i)) for i in random.integers(0, 26, letters))
