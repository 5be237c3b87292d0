#!/usr/bin/env python3
"""Turns a terminal's screen into the picture of the README: `tmux capture-pane -e -p | docs/render.py > docs/demo.svg`.

Every cell has its place, so that the picture looks the same whatever font is there; half blocks become rectangles.
"""

import html
import re
import sys

CELL_WIDTH, CELL_HEIGHT, MARGIN = 8, 17, 14
PAPER, INK, DIM = "#16181d", "#d6d9e0", "#6f7683"
PALETTE = ["#000000", "#e06c75", "#7ec27e", "#d9b36c", "#6ca8e0", "#c678dd", "#56b6c2", "#d6d9e0"]
ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")


def main() -> None:
    lines = cells(sys.stdin.read().rstrip("\n"))
    columns = max(map(len, lines))
    width, height = columns * CELL_WIDTH + 2 * MARGIN, len(lines) * CELL_HEIGHT + 2 * MARGIN
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">')
    print(f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>')
    print('<g shape-rendering="crispEdges">')
    for row, line in enumerate(lines):
        print("".join(blocks(row, line)), end="")
    print('</g>\n<g font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="13" '
          'xml:space="preserve">')
    for row, line in enumerate(lines):
        print("".join(words(row, line)), end="")
    print("</g>\n</svg>")


def cells(screen: str) -> "list[list[tuple[str, str, str | None]]]":
    """The characters of each line, each with its ink and its paper. Colours go on over the ends of lines."""
    lines, ink, paper, at = [[]], INK, None, 0
    for escape in list(ESCAPE.finditer(screen)) + [None]:
        for character in screen[at:escape.start() if escape else None]:
            if character == "\n":
                lines.append([])
            else:
                lines[-1].append((character, ink, paper))
        if escape:
            ink, paper = colors(escape.group(1), ink, paper)
            at = escape.end()
    return lines


def colors(codes: str, ink: str, paper: "str | None") -> "tuple[str, str | None]":
    numbers = [int(code or 0) for code in codes.split(";")]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            ink, paper = INK, None
        elif code == 2:
            ink = DIM
        elif code in (38, 48):
            color = extended(numbers)
            ink, paper = (color, paper) if code == 38 else (ink, color)
        elif 30 <= code <= 37:
            ink = PALETTE[code - 30]
        elif code == 39:
            ink = INK
        elif code == 49:
            paper = None
    return ink, paper


def extended(numbers: "list[int]") -> str:
    """24 bits, or one of 256: only the grays of the latter are drawn by the demo."""
    if numbers.pop(0) == 2:
        return "#%02x%02x%02x" % tuple(numbers.pop(0) for _ in range(3))
    number = numbers.pop(0)
    gray = {16: 0, 231: 255}.get(number, 8 + 10 * (number - 232))
    return "#%02x%02x%02x" % (gray, gray, gray)


def blocks(row: int, line: "list[tuple[str, str, str | None]]"):
    """Rectangles for half blocks and coloured paper, neighbours of one colour as one."""
    upper = [ink if character == "▀" else paper for character, ink, paper in line]
    lower = [paper for _, _, paper in line]
    half = CELL_HEIGHT / 2
    for top, fills in ((0, upper), (half, lower)):
        for start, end, fill in stretches(fills):
            x, y = MARGIN + start * CELL_WIDTH, MARGIN + row * CELL_HEIGHT + top
            yield f'<rect x="{x}" y="{y}" width="{(end - start) * CELL_WIDTH}" height="{half}" fill="{fill}"/>\n'


def words(row: int, line: "list[tuple[str, str, str | None]]"):
    inks = [None if character in " ▀" else ink for character, ink, _ in line]
    for start, end, ink in stretches(inks):
        text = "".join(character for character, _, _ in line[start:end])
        x, y = MARGIN + start * CELL_WIDTH, MARGIN + row * CELL_HEIGHT + 13
        length = (end - start) * CELL_WIDTH
        yield f'<text x="{x}" y="{y}" fill="{ink}" textLength="{length}">{html.escape(text)}</text>\n'


def stretches(values: list):
    """Where equal values stand side by side, `None` left out."""
    start = 0
    for at in range(1, len(values) + 1):
        if at == len(values) or values[at] != values[start]:
            if values[start] is not None:
                yield start, at, values[start]
            start = at


if __name__ == "__main__":
    main()
