"""Pictures of curves over the steps of a run, as SVG that a page in light and in dark can show."""
import dataclasses
import html


@dataclasses.dataclass(frozen=True)
class Series:
    """A kind of lines: what the picture calls it, its dash pattern, and its colours on white and on black.

    Colours should be ones that people with any of the usual colour-blindnesses tell apart (after Okabe and Ito), darkened or lightened until text
    in them is readable; the dash patterns say the same without colour."""

    key: str
    label: str
    dashes: str
    colour: str
    dark_colour: str


STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #24292f; }
  .background { fill: #ffffff; }
  .title { font-size: 14px; font-weight: 600; }
  .tick { font-size: 12px; fill: #57606a; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .axis { stroke: #8c959f; stroke-width: 1; }
  .line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
  .key { stroke-width: 2.2; }
"""
DARK_STYLE = """
    text { fill: #e6edf3; }
    .background { fill: #0d1117; }
    .tick { fill: #9ea7b3; }
    .grid { stroke: #30363d; }
    .axis { stroke: #6e7681; }
"""


class Panel:
    """One diagram: from a step and a value to a place in the picture."""

    LEFT, WIDTH, HEIGHT = 52, 812, 170

    def __init__(self, top, num_steps, max_value):
        self.top, self.num_steps, self.max_value = top, num_steps, max_value

    def x(self, step):
        return round(self.LEFT + self.WIDTH * step / self.num_steps, 1)

    def y(self, value):
        return round(self.top + self.HEIGHT * (1 - min(value, self.max_value) / self.max_value), 1)

    def frame(self, title, distance):
        yield f'<text class="title" x="{self.LEFT}" y="{self.top - 12}">{html.escape(title)}</text>'
        for i in range(int(self.max_value / distance + 1e-9) + 1):
            y = self.y(i * distance)
            yield f'<line class="grid" x1="{self.LEFT}" y1="{y}" x2="{self.LEFT + self.WIDTH}" y2="{y}"/>'
            yield f'<text class="tick" x="{self.LEFT - 8}" y="{y + 4}" text-anchor="end">{i * distance:g}</text>'
        bottom = self.top + self.HEIGHT
        yield f'<line class="axis" x1="{self.LEFT}" y1="{bottom}" x2="{self.LEFT + self.WIDTH}" y2="{bottom}"/>'
        for step in range(0, self.num_steps + 1, 10):
            x = self.x(step)
            yield f'<line class="axis" x1="{x}" y1="{bottom}" x2="{x}" y2="{bottom + 5}"/>'
            yield f'<text class="tick" x="{x}" y="{bottom + 19}" text-anchor="middle">{step}</text>'

    def line(self, series, values):
        points = " ".join(f"{self.x(step)},{self.y(value)}" for step, value in values)
        return f'<polyline class="line {series.key}" stroke-dasharray="{series.dashes}" points="{points}"/>'


def style(all_series):
    light = "".join(f"  .{series.key} {{ stroke: {series.colour}; }}\n" for series in all_series)
    dark = "".join(f"    .{series.key} {{ stroke: {series.dark_colour}; }}\n" for series in all_series)
    return f"{STYLE}{light}  @media (prefers-color-scheme: dark) {{{DARK_STYLE}{dark}  }}\n"


def draw(title, description, panels, lines, note):
    """The picture: a diagram for each of `panels` (metric, title, largest value of the axis, distance of its ticks), in it a line for each of `lines`, a
    list of (series, the metrics of each step)."""
    all_series = list(dict.fromkeys(series for series, _ in lines))
    num_steps = max(len(steps) for _, steps in lines)
    first_top, distance = 56 + 24 * ((len(all_series) + 2) // 3), 246
    height = first_top + distance * len(panels) - 26
    width = Panel.LEFT + Panel.WIDTH + 20
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        'aria-labelledby="title description">',
        f'<title id="title">{html.escape(title)}</title>',
        f'<desc id="description">{html.escape(description)}</desc>',
        f"<style>{style(all_series)}</style>",
        f'<rect class="background" width="{width}" height="{height}"/>',
    ]
    for i, series in enumerate(all_series):
        x, y = Panel.LEFT + i % 3 * 278, 22 + i // 3 * 24
        out.append(f'<line class="key {series.key}" stroke-dasharray="{series.dashes}" x1="{x}" y1="{y}" x2="{x + 40}" y2="{y}"/>')
        out.append(f'<text x="{x + 48}" y="{y + 4}">{html.escape(series.label)}</text>')
    for i, (metric, panel_title, max_value, tick) in enumerate(panels):
        panel = Panel(first_top + distance * i, num_steps, max_value)
        out += panel.frame(panel_title, tick)
        for series, steps in lines:
            out.append(panel.line(series, [(j + 1, step[metric]) for j, step in enumerate(steps)]))
    x, y = Panel.LEFT + Panel.WIDTH, height - 8
    out.append(f'<text class="tick" x="{x}" y="{y}" text-anchor="end">{html.escape(note)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def span(values, digits):
    """"0.1 to 0.2", or the one number that all of them are, to so many digits."""
    low, high = (f"{pick(values):.{digits}f}" for pick in (min, max))
    return low if low == high else f"{low} to {high}"
