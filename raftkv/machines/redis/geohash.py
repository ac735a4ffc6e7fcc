"""Places on the earth as numbers of 52 bits, such that places near each other mostly have numbers near each other.

Longitude and latitude are each cut into 2**26 steps, and the bits of the two numbers alternate, a longitude's first. So
a shorter number (2 * step bits) is a cell of a coarser grid, and all places of the cell are one range of numbers:

    a place --encode--> 52 bits --> score of a sorted set --decode--> the middle of its finest cell
    a shape --ranges--> the cell of its centre and the eight around it, in a grid so coarse that these nine cover it

Each step is done in the order in which Redis does it, for the last digit to agree: (min + max) / 2 is not always what
min + half is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from math import pi, sqrt
from typing import Final, NamedTuple

from raftkv.machines.redis import same_trigonometry

STEPS: Final = 26
LONGITUDE_MAX: Final = 180.0
LATITUDE_MAX: Final = 85.05112878
"""Where the map of the world, in Mercator's projection, is a square."""
_POLE: Final = 90.0

_CELLS: Final = 1 << STEPS
_END: Final = 1 << 2 * STEPS
"""Numbers from here on are beyond the map."""
_SOUTH: Final = -LATITUDE_MAX
_HEIGHT: Final = LATITUDE_MAX + LATITUDE_MAX

_EARTH_RADIUS_M: Final = 6372797.560856
_HALF_EQUATOR_M: Final = 20037726.37
_RADIANS_PER_DEGREE: Final = pi / 180.0
_HIGH_LATITUDE: Final = 66.0
_HIGHEST_LATITUDE: Final = 80.0
_ALPHABET: Final = b"0123456789bcdefghjkmnpqrstuvwxyz"


# Bits


_HEX: Final = b"0123456789abcdef"
_EVEN_BITS: Final = bytes(_HEX[sum((byte >> 2 * bit & 1) << bit for bit in range(4))] for byte in range(256))
"""Byte -> its bits 0, 2, 4 and 6, as a hexadecimal digit."""
_ODD_BITS: Final = bytes(_EVEN_BITS[byte >> 1] for byte in range(256))
_SPREAD: Final = bytes(
    sum((_HEX.index(digit) >> bit & 1) << 2 * bit for bit in range(4)) if digit in _HEX else 0 for digit in range(256)
)
"""The reverse of _EVEN_BITS."""


def _interleave(even: int, odd: int) -> int:
    """Two numbers of 32 bits. By way of their hexadecimal digits, as all of them are then handled by one call in C."""
    low, high = (int.from_bytes((b"%08x" % number).translate(_SPREAD)) for number in (even, odd))
    return low | high << 1


def _deinterleave(bits: int) -> tuple[int, int]:
    data = bits.to_bytes(8)
    return int(data.translate(_EVEN_BITS), 16), int(data.translate(_ODD_BITS), 16)


# Places


def encode(longitude: float, latitude: float, step: int = STEPS, latitude_max: float = LATITUDE_MAX) -> int:
    """The number, of 2 * step bits, of the cell that the place is in. (At the very limits of the map it has a bit more,
    as in Redis.)"""
    cells = 1 << step
    x = (longitude + LONGITUDE_MAX) / (LONGITUDE_MAX + LONGITUDE_MAX) * cells
    y = (latitude + latitude_max) / (latitude_max + latitude_max) * cells
    return _interleave(int(y), int(x))


def decode(score: float) -> tuple[float, float]:
    """(longitude, latitude) of the middle of the cell. Takes any score: a sorted set may have got it from ZADD.

    Hot: once for each member of the cells that a search visits. So it says `_area` again, without the parts.
    """
    data = (int(score) if 0 <= score < _END else _unsigned(score)).to_bytes(8)
    y, x = int(data.translate(_EVEN_BITS), 16), int(data.translate(_ODD_BITS), 16)
    longitude = (-180.0 + x / _CELLS * 360.0 + (-180.0 + (x + 1) / _CELLS * 360.0)) / 2
    latitude = (_SOUTH + y / _CELLS * _HEIGHT + (_SOUTH + (y + 1) / _CELLS * _HEIGHT)) / 2
    if score < 0 or score >= _END:
        longitude = max(-LONGITUDE_MAX, min(LONGITUDE_MAX, longitude))
        latitude = max(-LATITUDE_MAX, min(LATITUDE_MAX, latitude))
    return longitude, latitude


def _unsigned(score: float) -> int:
    """As C on x86 makes 64 bits of a double, for which the language gives no rule when it is negative or too large."""
    return int(score) % 2**64 if -(2**63) <= score < 2**64 else (0 if score > 0 else 2**63)


def text_of(longitude: float, latitude: float) -> bytes:
    """The 11 letters that the world knows as the geohash. They count latitudes from pole to pole, and the last one
    would need bits that are not there."""
    bits = encode(longitude, latitude, latitude_max=_POLE)
    return bytes(_ALPHABET[bits >> shift & 31] for shift in range(47, -1, -5)) + _ALPHABET[:1]


Measure = Callable[[float, float, float, float], float]
"""Metres between two places: (longitude, latitude, longitude, latitude)."""


def _great_circle(
    sine: Callable[[float], float], cosine: Callable[[float], float], arc_sine: Callable[[float], float]
) -> Measure:
    """On a sphere (the haversine formula)."""

    def measure(longitude_1: float, latitude_1: float, longitude_2: float, latitude_2: float) -> float:
        v = sine((longitude_2 * _RADIANS_PER_DEGREE - longitude_1 * _RADIANS_PER_DEGREE) / 2)
        if v == 0:
            return _meridian_distance(latitude_1, latitude_2)
        y_1, y_2 = latitude_1 * _RADIANS_PER_DEGREE, latitude_2 * _RADIANS_PER_DEGREE
        u = sine((y_2 - y_1) / 2)
        # Of opposite places rounding makes a little more than 1, for which there is no arc sine.
        return 2.0 * _EARTH_RADIUS_M * arc_sine(min(1.0, sqrt(u * u + cosine(y_1) * cosine(y_2) * v * v)))

    return measure


distance: Final = _great_circle(math.sin, math.cos, math.asin)
same_distance: Final = _great_circle(same_trigonometry.sine, same_trigonometry.cosine, same_trigonometry.arc_sine)
"""The same on all members, for what is stored. Slower."""


# Shapes


class Circle(NamedTuple):
    """Degrees, and metres. measure: what tells distances."""

    longitude: float
    latitude: float
    radius: float
    measure: Measure = distance

    def distance_to(self, longitude: float, latitude: float) -> float | None:
        """From the centre; None: the place is outside."""
        found = self.measure(self.longitude, self.latitude, longitude, latitude)
        return None if found > self.radius else found

    @property
    def reach(self) -> float:
        """The distance of the centre from what is farthest."""
        return self.radius

    @property
    def halves(self) -> tuple[float, float]:
        """Half of the width and of the height."""
        return self.radius, self.radius


class Box(NamedTuple):
    """As a Circle, but width and height are in units of `unit_m` metres."""

    longitude: float
    latitude: float
    width: float
    height: float
    unit_m: float
    measure: Measure = distance

    def distance_to(self, longitude: float, latitude: float) -> float | None:
        if _meridian_distance(latitude, self.latitude) > self.height * self.unit_m / 2:
            return None
        if self.measure(longitude, latitude, self.longitude, latitude) > self.width * self.unit_m / 2:
            return None
        return self.measure(self.longitude, self.latitude, longitude, latitude)

    @property
    def reach(self) -> float:
        return sqrt((self.width / 2) * (self.width / 2) + (self.height / 2) * (self.height / 2)) * self.unit_m

    @property
    def halves(self) -> tuple[float, float]:
        return self.unit_m * (self.width / 2), self.unit_m * (self.height / 2)


Shape = Circle | Box


def _meridian_distance(latitude_1: float, latitude_2: float) -> float:
    return _EARTH_RADIUS_M * abs(latitude_2 * _RADIANS_PER_DEGREE - latitude_1 * _RADIANS_PER_DEGREE)


# The nine cells around a shape


class _Area(NamedTuple):
    west: float
    south: float
    east: float
    north: float


_AROUND: Final[tuple[tuple[int, int], ...]] = (
    (0, 0),
    *((0, 1), (0, -1), (1, 0), (-1, 0)),
    *((1, 1), (-1, 1), (1, -1), (-1, -1)),
)
"""Steps to the east and to the north, in the order in which Redis visits the cells: what a search finds comes in it."""


def ranges(shape: Shape) -> Iterator[tuple[float, float]]:
    """The ranges of scores, each without its end, that hold everything within the shape, and more. In Redis's order."""
    step = _step(shape.reach, shape.latitude)
    ways = _AROUND
    if step > 1:  # else the nine are the four that make the world
        bounds = _bounds(shape)
        if not _is_covered(encode(shape.longitude, shape.latitude, step), step, bounds):
            step -= 1
        if step > 1:
            ways = _needed(_area(encode(shape.longitude, shape.latitude, step), step), bounds)
    centre = encode(shape.longitude, shape.latitude, step)
    shift = 2 * (STEPS - step)
    last = None
    for east, north in ways:
        cell = _moved(centre, east, north, step)
        if cell != last:  # in the coarsest grid east is west
            yield float(cell << shift), float(cell + 1 << shift)
        if (east, north) != (0, 0):
            last = cell


def _step(reach: float, latitude: float) -> int:
    """The finest grid of which nine cells should do."""
    if reach == 0:
        return STEPS
    step = 1
    while reach < _HALF_EQUATOR_M:
        reach *= 2
        step += 1
    step -= 2
    # Towards the poles the cells are narrower than they look on the map.
    step -= (abs(latitude) > _HIGH_LATITUDE) + (abs(latitude) > _HIGHEST_LATITUDE)
    return max(1, min(STEPS, step))


def _bounds(shape: Shape) -> _Area:
    """The shape's limits in degrees. Those of longitude are taken on the side that is nearer to a pole; beyond the pole
    they are nonsense, as in Redis."""
    half_width, half_height = shape.halves
    up = half_height / _EARTH_RADIUS_M / _RADIANS_PER_DEGREE
    edge = shape.latitude - up if shape.latitude < 0 else shape.latitude + up
    narrowing = same_trigonometry.cosine(edge * _RADIANS_PER_DEGREE)
    aside = half_width / _EARTH_RADIUS_M / narrowing / _RADIANS_PER_DEGREE
    return _Area(shape.longitude - aside, shape.latitude - up, shape.longitude + aside, shape.latitude + up)


def _is_covered(centre: int, step: int, bounds: _Area) -> bool:
    """Whether the neighbours reach as far as the bounds: not, when the shape is at the edge of its cell."""
    north, south, east, west = (_area(_moved(centre, *way, step), step) for way in _AROUND[1:5])
    return not (
        north.north < bounds.north or south.south > bounds.south or east.east < bounds.east or west.west > bounds.west
    )


def _needed(cell: _Area, bounds: _Area) -> tuple[tuple[int, int], ...]:
    """Which of the nine to visit: none in a direction in which the middle cell itself reaches beyond the bounds."""
    unneeded = {
        (0, -1): cell.south < bounds.south,
        (0, 1): cell.north > bounds.north,
        (-1, 0): cell.west < bounds.west,
        (1, 0): cell.east > bounds.east,
    }
    return tuple((x, y) for x, y in _AROUND if not (unneeded.get((x, 0), False) or unneeded.get((0, y), False)))


def _moved(cell: int, east: int, north: int, step: int) -> int:
    """The cell so many cells away, round the world if need be."""
    y, x = _deinterleave(cell)
    mask = (1 << step) - 1
    return _interleave(y + north & mask if north else y, x + east & mask if east else x)


def _area(cell: int, step: int) -> _Area:
    y, x = _deinterleave(cell)
    cells = 1 << step
    width, height = LONGITUDE_MAX + LONGITUDE_MAX, LATITUDE_MAX + LATITUDE_MAX
    return _Area(
        -LONGITUDE_MAX + x / cells * width,
        -LATITUDE_MAX + y / cells * height,
        -LONGITUDE_MAX + (x + 1) / cells * width,
        -LATITUDE_MAX + (y + 1) / cells * height,
    )
