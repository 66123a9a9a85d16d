"""What stands in a street and from where it is seen: the shares and numbers from which a scene is drawn.

`PLAIN` is the content of the six looks whose tables are published; it must not change. `STREETS` is drawn after real
photos: European streets as a car's camera with its bonnet or a phone on the pavement sees them, with more of what
networks trained on `PLAIN` miss (people, riders and two-wheelers near and in groups, signs, lights, fences, walls, lorries
and buses).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Content:
    """Shares are probabilities in [0,1], numbers are means of Poisson distributions, lengths are metres.

    Attributes:
        moods: shares of `MOODS`, the kinds of street side.
        keeps_left: share of streets in which traffic keeps left.
        bonnet: share of pictures that show the camera's own car.
        on_pavement: share of cameras that a pedestrian holds.
        junction: share of streets with a crossing street.
        busy: moving vehicles, quiet, usual and busy streets.
        moving: shares of cars, vans, trucks, buses and trams among them.
        nearest_vehicle: least distance of moving vehicles along the road.
        parked: factor on the share of kerbs with a row of parked cars.
        boundaries: shares of hedges, walls, fences and nothing in front of plots.
        built: factor on the share of plots with a building.
        crowd: groups of walkers a side, in quiet, usual and busy streets.
        groups: sizes of a group, equally likely.
        crossing: share of groups on the road.
        nearest_person: least distance of people and two-wheelers.
        riders: two-wheelers on the road.
        motorcycles: share of motorcycles among them.
        ridden: share of them with a rider.
        racks: share of sides with a row of parked two-wheelers.
        parked_motorcycles: share of motorcycles in such a row.
        signs: factor on the number of signs and posts.
        lights: share of junctions, and of streets without one, that have traffic lights.
        bollards: share of sides with a row of bollards.
        railings: factor on the share of kerbs with a railing.
        blocks: share of plots in closed rows that carry a perimeter block.
        tints: range of the gain that makes one facade look like several.
        plain_paths: share of pavements of the road's own asphalt, told from it by the kerb alone.
        cycle_paths: share of pavements with a cycle path.
        signals: share of traffic lights that are slender, hang from arms, or have no board.
        modern_fleet: share of buses and trams with wide panes, doors and bright colours.
        folds: contrast of the folds and highlights on clothes and bodywork, as a standard deviation.
    """

    moods: tuple[float, ...] = (0.2, 0.26, 0.12, 0.14, 0.09, 0.13, 0.06)
    keeps_left: float = 0.65
    bonnet: float = 0.22
    on_pavement: float = 0.0
    junction: float = 0.4
    busy: tuple[float, float, float] = (0.7, 2.0, 4.5)
    moving: tuple[float, ...] = (0.68, 0.07, 0.1, 0.1, 0.05)
    nearest_vehicle: float = 6.0
    parked: float = 1.0
    boundaries: tuple[float, ...] = (0.3, 0.3, 0.25, 0.15)
    built: float = 1.0
    crowd: tuple[float, float, float] = (1.0, 3.0, 7.0)
    groups: tuple[int, ...] = (1, 1, 1, 2, 2, 3)
    crossing: float = 0.07
    nearest_person: float = 4.5
    riders: float = 1.3
    motorcycles: float = 0.33
    ridden: float = 0.88
    racks: float = 0.22
    parked_motorcycles: float = 0.12
    signs: float = 1.0
    lights: tuple[float, float] = (0.55, 0.15)
    bollards: float = 0.22
    railings: float = 1.0
    blocks: float = 0.0
    tints: tuple[float, float] = (0.85, 1.15)
    plain_paths: float = 0.0
    cycle_paths: float = 0.0
    signals: float = 0.0
    modern_fleet: float = 0.0
    folds: float = 0.0


PLAIN: Final = Content()
STREETS: Final = Content(
    moods=(0.14, 0.28, 0.16, 0.12, 0.12, 0.14, 0.04),
    keeps_left=0.12,
    bonnet=0.45,
    on_pavement=0.2,
    junction=0.5,
    busy=(1.0, 3.0, 6.0),
    moving=(0.52, 0.1, 0.15, 0.13, 0.1),
    nearest_vehicle=4.5,
    parked=1.4,
    boundaries=(0.2, 0.33, 0.42, 0.05),
    built=0.85,
    crowd=(2.0, 5.0, 9.0),
    groups=(1, 1, 2, 2, 3, 4),
    crossing=0.14,
    nearest_person=3.4,
    riders=3.2,
    motorcycles=0.3,
    ridden=0.92,
    racks=0.4,
    parked_motorcycles=0.2,
    signs=1.6,
    lights=(0.8, 0.3),
    bollards=0.32,
    railings=2.6,
    blocks=0.55,
    tints=(0.45, 1.15),
    plain_paths=0.45,
    cycle_paths=0.25,
    signals=0.75,
    modern_fleet=0.8,
    folds=0.22,
)
