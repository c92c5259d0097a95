"""The FPGA pages: one per design, what a paper's page says of its designs, and all of them beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from qkb.site.diagram import diagram_svg
from qkb.site.facts import listing, plural
from qkb.site.figures import figure, picture
from qkb.site.markdown import joined, table, text
from qkb.site.survey import NETWORKS, PICTURE, VERILOG, WAVEFORM
from reference_impls.fpga.results import to_json
from reference_impls.kit.scatter import Point, scatter_svg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from qkb.records.model import Record
    from qkb.site.page import Page
    from qkb.site.survey import Survey
    from reference_impls.fpga.results import Hardware

NAMES = {"mlp": "MLP", "cnn": "CNN"}
TITLES = {"mlp": "Multilayer perceptron (MLP)", "cnn": "Convolutional network (CNN)"}
SHAPES = {
    "mlp": "64 inputs, two hidden layers of 32 units, 10 classes",
    "cnn": "two 3x3 convolutions to 4 and 8 channels, 2x2 max-pooling, 10 classes",
}
_KINDS = {"1": "1-bit weights", "2": "2-bit weights"}
_WIDER = "wider weights"


@dataclass(frozen=True)
class Design:
    """A method's hardware in one network.

    Attributes:
        record: its record.
        result: what was measured.
        files: what stands beside the result, by the end of its name.
    """

    record: Record
    result: Hardware
    files: Mapping[str, bytes]

    @property
    def stem(self) -> str:
        """The page's path below the folder of pages, without its end."""
        return f"fpga/{self.result.network}/{self.record.id}"

    @property
    def page(self) -> str:
        """The page's path below the folder of pages."""
        return f"{self.stem}.md"

    @property
    def title(self) -> str:
        """The page's title."""
        return f"{self.record.id} on the FPGA, {NAMES[self.result.network]}"

    @property
    def kind(self) -> str:
        """The width of the hidden layer's weights, as the plots tell designs apart."""
        return _KINDS.get(self.result.bits.removeprefix("w").partition("a")[0], _WIDER)

    @property
    def command(self) -> str:
        """The command that makes the design again."""
        folder = f"build/fpga/{self.result.network}"
        seed = f" --seed {self.result.seed}" if self.result.seed else ""
        return (
            f"qkb run {self.record.id} --target fpga --network {self.result.network}{seed} "
            f"--verilog {folder} --vcd {folder}/{self.record.id}.vcd"
        )

    def downloads(self) -> dict[str, bytes]:
        """Return the files that the page leads to, by path below the folder of pages."""
        kept = {self.stem + end: content for end, content in self.files.items() if end != PICTURE}
        return {f"{self.stem}.json": to_json(self.result).encode(), **kept}

    def accuracy_table(self) -> Markup:
        """Return accuracy three times over."""
        rates = [percent(rate) for rate in self.result.accuracy]
        images = f"{self.result.images} test images"
        return table(
            ["Test accuracy", "torch", "Integer model", "Simulated hardware", "Images with any difference"],
            [[images, *rates, self.result.differences]],
        )

    def diagram(self) -> Markup:
        """Return the block diagram of the pipeline, once for wide and once for narrow windows."""
        caption = "The bar shows how much of the time a unit is at work; it is full for the slowest."
        drawn = (("qkb-broad", diagram_svg(self.result.units, 4)), ("qkb-slim", diagram_svg(self.result.units, 2)))
        return joined((figure(svg, caption, css) for css, svg in drawn), "\n\n")

    def folding_table(self) -> Markup:
        """Return the pipeline's units with their cycles."""
        rows = [[unit.label, f"{unit.interval:,}", f"{unit.latency:,}"] for unit in self.result.units]
        return table(["Unit", "Cycles an image", "Latency, cycles"], rows)

    def costs_table(self) -> Markup:
        """Return cycles, cells, clock and throughput."""
        result = self.result
        model, cycles = result.interval
        rows = [
            ["Cycles per image", f"{cycles:g} (the model says {model}; {result.simulator})"],
            ["Latency, first pixel to class", f"{result.latency:,} cycles{_time(result)}"],
        ]
        if result.gates is not None:
            gates = result.gates
            rows += [
                ["LUT4", f"{gates.lut:,}"],
                ["LUT positions, with carry chains and LUT memories", f"{gates.logic:,}"],
                ["Flip-flops", f"{gates.ff:,}"],
                ["Block RAM of 18 kbit", str(gates.bram)],
                ["Multiplier blocks", str(gates.dsp)],
            ]
        if result.speed is not None:
            speed = result.speed
            every, seeds = (", ".join(f"{n:g}" for n in numbers) for numbers in (speed.every, speed.seeds))
            rows += [
                ["Clock", f"{speed.fmax:g} MHz, the median of {every} (seeds {seeds})"],
                ["Asked for", f"{speed.constraint:g} MHz"],
                ["Device", speed.device],
                ["Images per second", f"{result.images_per_second or 0:,.0f}"],
            ]
        return table(["", "Measured"], rows)

    def versions(self) -> str:
        """Return the tools that made the design."""
        return ", ".join(f"{tool} {version}" for tool, version in self.result.versions.items())

    def waveform(self) -> Markup:
        """Return the picture of the two streams; empty where there is none."""
        if PICTURE not in self.files:
            return Markup()
        caption = "The two streams; where the dashed line is, cycles are left out. A filled beat moves in that cycle."
        return picture(self.files[PICTURE].decode("utf-8", "replace"), f"{self.stem}{PICTURE}", caption)

    def download_links(self, page: Page) -> Markup:
        """Return links to the files, each with its size."""
        labels = {VERILOG: "Verilog", WAVEFORM: "Waveform of two images (VCD)", ".json": "Result (JSON)"}
        found = []
        for path, content in self.downloads().items():
            end = path.removeprefix(self.stem)
            size = f" ({'gzip, ' if end.endswith('.gz') else ''}{max(1, round(len(content) / 1000))} kB)"
            found.append((list(labels).index(end), page.to(path, labels[end]) + size))
        return listing(shown for _, shown in sorted(found))


def percent(rate: float) -> str:
    """Return an accuracy.

    >>> percent(95.14237)
    '95.14 %'
    """
    return f"{rate:.2f} %"


def _time(result: Hardware) -> str:
    return "" if result.speed is None else f", {result.latency / result.speed.fmax:.2f} µs at the highest clock"


def designs_of(survey: Survey, record: Record) -> list[Design]:
    """Return a record's designs, in the order of the networks."""
    results = survey.hardware.get(record.id, {})
    return [
        Design(record, results[network], survey.beside.get(f"{network}/{record.id}", {}))
        for network in NETWORKS
        if network in results
    ]


def designs(survey: Survey) -> dict[str, tuple[Design, ...]]:
    """Return the designs of each network that has any, the most accurate first."""
    every = [design for key in survey.hardware for design in designs_of(survey, survey.records[key])]
    every.sort(key=lambda design: (-design.result.accuracy[2], design.record.id))
    grouped = {network: tuple(d for d in every if d.result.network == network) for network in NETWORKS}
    return {network: members for network, members in grouped.items() if members}


def _columns(cell: Callable[[Design], Markup], head: str) -> dict[str, Callable[[Design], object]]:
    """Return the columns of a table of designs; what was not measured stays empty."""
    return {
        head: cell,
        "Bits": lambda d: text(d.result.bits),
        "Accuracy": lambda d: percent(d.result.accuracy[2]),
        "Cycles": lambda d: f"{d.result.interval[1]:g}",
        "LUT4": lambda d: "" if d.result.gates is None else f"{d.result.gates.lut}",
        "LUT positions": lambda d: "" if d.result.gates is None else f"{d.result.gates.logic}",
        "FF": lambda d: "" if d.result.gates is None else f"{d.result.gates.ff}",
        "BRAM": lambda d: "" if d.result.gates is None else f"{d.result.gates.bram}",
        "MHz": lambda d: "" if d.result.speed is None else f"{d.result.speed.fmax:.1f}",
        "Images/s": lambda d: "" if d.result.images_per_second is None else f"{d.result.images_per_second:.0f}",
    }


def designs_table(members: Iterable[Design], page: Page, *, by_network: bool = False) -> Markup:
    """Return designs beside each other, each leading to its page.

    Args:
        members: the designs.
        page: on which the table stands.
        by_network: name the network of each, not the record: all are of one record.
    """

    def cell(design: Design) -> Markup:
        return page.to(design.page, TITLES[design.result.network] if by_network else design.record.id)

    columns = _columns(cell, "Network" if by_network else "Design")
    return table(list(columns), ([show(design) for show in columns.values()] for design in members))


def notes(members: Iterable[Design]) -> list[str]:
    """Return what is not the methods' own, each said once."""
    parts = (part for design in members for part in design.result.note.split("; "))
    return list(dict.fromkeys(part for part in parts if part))


def plots(members: Sequence[Design], page: Page) -> Markup:
    """Return accuracy against LUTs and against images per second, for the designs that have them."""
    network = NAMES[members[0].result.network]
    sides: list[tuple[str, str, Callable[[Hardware], float | None]]] = [
        ("LUT positions (ECP5)", "LUTs", lambda r: None if r.gates is None else r.gates.logic),
        ("images per second", "images per second", lambda r: r.images_per_second),
    ]
    drawn = []
    for axis, short, value in sides:
        points = [
            Point(design.record.id, x, y, design.kind, page.url(design.page), about(design, f"{x:,.0f} {axis}"))
            for design in sorted(members, key=lambda d: (d.kind, d.record.id))
            if (x := value(design.result)) is not None
            for y in [design.result.accuracy[2]]
        ]
        if points:
            title = f"{network}: accuracy against {short}, {plural(len(points), 'design')}"
            drawn.append(figure(scatter_svg(points, axis, "test accuracy, %", title), title, scrolls=True))
    return joined(drawn, "\n\n")


def about(design: Design, what: str) -> str:
    """Say in words what a point of a plot shows."""
    return f"{design.record.id}, {design.result.bits}: {percent(design.result.accuracy[2])}, {what}"


def conditions(members: Sequence[Design]) -> list[str]:
    """Say under which conditions designs were trained, simulated, placed and routed, each once."""
    results = [design.result for design in members]
    seeds = _each(f"{result.seed}" for result in results)
    cycles = sorted({result.interval[1] for result in results})
    span = f"{cycles[0]:g}" if len(cycles) == 1 else f"{cycles[0]:g} to {cycles[-1]:g}"
    said = [
        f"Training seed {seeds}; {_each(str(result.images) for result in results)} test images.",
        f"Folded to {span} cycles an image.",
    ]
    clocks = _each(
        f"{speed.device}, asked for {speed.constraint:g} MHz, median of the placer's seeds "
        f"{', '.join(map(str, speed.seeds))}"
        for result in results
        if (speed := result.speed) is not None
    )
    tools = sorted({f"{tool} {version}" for result in results for tool, version in result.versions.items()})
    return [*said, f"Clock: {clocks}." if clocks else "Not placed and routed: no clock.", f"Tools: {', '.join(tools)}."]


def _each(values: Iterable[str]) -> str:
    return "; or ".join(dict.fromkeys(values))
