"""A printable poster that advertises a helpline: one drawing, as SVG and as PDF.

The caller passes the texts. Apart from them, the poster is the same for every reader.

Only the functions that draw import reportlab: a gateway that prints nothing saves 8 MB.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from io import BytesIO

import segno
from flask import current_app

WIDTH, HEIGHT = 595.28, 841.89  # the size of A4; all lengths in this module are in points
CAMPAIGN_NAME = "Llama y Vive"
"""The name of the pilot's campaign, which the site uses as the title of its posters."""
PAPER_SCALES = {"A4": 1.0, "A3": 2**0.5}
"""The scale of each paper size, relative to A4."""
MARGIN = 48.0
TEAL, INK, IVORY, BRICK = "#083F41", "#1F2A30", "#FBFAF7", "#9C2F1E"
# Every PDF reader has these fonts, so no font is embedded. A browser may use another font; the SVG
# makes it stretch each line to the same width.
PLAIN, BOLD = "Helvetica", "Helvetica-Bold"


@dataclass(frozen=True)
class Words:
    """The texts of a poster.

    `code` and `warning` may be empty. `address` is the content of the QR symbol.
    """

    language: str
    title: str
    question: str
    call: str
    number: str
    promises: tuple[str, ...]
    address: str
    address_hint: str
    code: str
    warning: str


@dataclass(frozen=True)
class Box:
    """A filled rectangle. `x` and `y` are the position of its upper left corner.

    All positions are measured from the poster's upper left corner.
    """

    x: float
    y: float
    width: float
    height: float
    color: str


@dataclass(frozen=True)
class Line:
    """A line of text. `x` is the position of its left end, `y` the position of its base line."""

    x: float
    y: float
    size: float
    text: str
    font: str
    color: str


def svg(words: Words, paper: str) -> str:
    """Returns the poster as an SVG document for a paper size of PAPER_SCALES."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    width, height = (f"{side * PAPER_SCALES[paper] / 72 * 25.4:.1f}mm" for side in (WIDTH, HEIGHT))
    return current_app.jinja_env.get_template("poster.svg").render(
        words=words,
        shapes=shapes(words),
        width=width,
        height=height,
        size=(WIDTH, HEIGHT),
        bold=BOLD,
        width_of=stringWidth,
    )


def pdf(words: Words, paper: str) -> bytes:
    """Returns the poster as a PDF of one page, for a paper size of PAPER_SCALES.

    The same texts and size always give the same bytes.
    """
    from reportlab.lib.colors import HexColor
    from reportlab.pdfgen.canvas import Canvas

    file, scale = BytesIO(), PAPER_SCALES[paper]
    canvas = Canvas(
        file, pagesize=(WIDTH * scale, HEIGHT * scale), invariant=1, lang=words.language
    )
    canvas.setTitle(words.title)
    canvas.scale(scale, scale)
    for shape in shapes(words):
        canvas.setFillColor(HexColor(shape.color))
        if isinstance(shape, Box):
            canvas.rect(
                shape.x,
                HEIGHT - shape.y - shape.height,
                shape.width,
                shape.height,
                stroke=0,
                fill=1,
            )
        else:
            canvas.setFont(shape.font, shape.size)
            canvas.drawString(shape.x, HEIGHT - shape.y, shape.text)
    canvas.save()
    return file.getvalue()


def shapes(words: Words) -> Iterator[Box | Line]:
    """Yields the shapes of the poster, from back to front."""
    yield Box(0, 0, WIDTH, HEIGHT, IVORY)
    yield Box(0, 0, WIDTH, 92, TEAL)
    yield from _text(words.title, MARGIN, 58, 28, BOLD, IVORY, WIDTH - 2 * MARGIN)
    y = yield from _text(words.question, MARGIN, 150, 36, BOLD, INK, WIDTH - 2 * MARGIN)
    y = yield from _text(words.call, MARGIN, y + 18, 26, PLAIN, INK, WIDTH - 2 * MARGIN)
    band = y + 10
    yield Box(0, band, WIDTH, 120, BRICK)
    size = _fitting_size(words.number, 92, WIDTH - 2 * MARGIN)
    yield Line(MARGIN, band + 60 + size * 0.36, size, words.number, BOLD, IVORY)
    y = band + 120 + 40
    for promise in words.promises:
        y = yield from _text(promise, MARGIN, y, 20, PLAIN, INK, WIDTH - 2 * MARGIN)
    yield from qr(words.address, WIDTH - MARGIN - 140, HEIGHT - MARGIN - 140, 140)
    y = yield from _text(words.address_hint, MARGIN, HEIGHT - MARGIN - 60, 14, PLAIN, INK, 300)
    if words.code:
        y = yield from _text(words.code, MARGIN, y + 6, 14, BOLD, INK, 300)
    if words.warning:
        yield from _text(words.warning, MARGIN, y + 6, 14, BOLD, BRICK, 300)


def _text(
    text: str, x: float, y: float, size: float, font: str, color: str, width: float
) -> Generator[Line, None, float]:
    """Yields the text in lines, and returns the `y` of the next text.

    Lines are broken at spaces to fit into `width`; only a single long word may be wider.
    """
    for line in _split(text, font, size, width):
        yield Line(x, y, size, line, font, color)
        y += size * 1.2
    return y


def _fitting_size(text: str, size: float, width: float) -> float:
    while size > 20 and len(_split(text, BOLD, size, width)) > 1:
        size -= 2
    return size


def _split(text: str, font: str, size: float, width: float) -> list[str]:
    from reportlab.lib.utils import simpleSplit

    return list(simpleSplit(text, font, size, width))


def qr(text: str, x: float, y: float, size: float) -> Iterator[Box]:
    """Yields a QR symbol with error correction M or better and a quiet zone of four modules.

    The first box is the background; each further box is a run of dark modules.
    """
    symbol = segno.make(text, micro=False, error="m")
    yield Box(x, y, size, size, "#FFFFFF")
    module = size / symbol.symbol_size(border=4)[0]
    for row, line in enumerate(symbol.matrix_iter(border=4)):
        for run in re.finditer(rb"\x01+", bytes(line)):
            left, length = x + run.start() * module, len(run[0]) * module
            yield Box(left, y + row * module, length, module, "#000000")
