"""A sheet for printing, as a PDF: a title, paragraphs, and tables of two columns.

A QR symbol holds an opaque code. The caller passes all texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table

from services.gateway.site.parts import poster

MARGIN = 54.0  # points: three quarters of an inch; no printer needs a wider margin
TITLE = ParagraphStyle(
    "title",
    fontName=poster.BOLD,
    fontSize=18,
    leading=23,
    textColor=HexColor(poster.INK),
    rightIndent=100,
    spaceAfter=10,
)
HEADING = ParagraphStyle(
    "heading", TITLE, fontSize=12, leading=15, rightIndent=0, spaceBefore=10, spaceAfter=3
)
TEXT = ParagraphStyle(
    "text",
    fontName=poster.PLAIN,
    fontSize=10.5,
    leading=14,
    textColor=HexColor(poster.INK),
    spaceAfter=6,
)


@dataclass(frozen=True)
class Part:
    """A heading, and below it lines (each with a label and a text), texts, or both."""

    heading: str
    lines: Sequence[tuple[str, str]] = ()
    texts: Sequence[str] = ()


def pdf(
    language: str, title: str, code: str, lead: Sequence[str], parts: Sequence[Part], foot: str
) -> bytes:
    """Returns the sheet as a PDF on A4, with `foot` at the bottom of each page.

    The QR symbol at the top of the first page holds `code`.
    """
    file = BytesIO()
    document = SimpleDocTemplate(
        file,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=title,
        lang=language,
    )
    flowables: list[Any] = [
        Paragraph(escape(title), TITLE),
        *(Paragraph(escape(text), TEXT) for text in lead),
    ]
    for part in parts:
        rows = [
            [Paragraph(escape(label), TEXT), Paragraph(f"<b>{escape(text)}</b>", TEXT)]
            for label, text in part.lines
        ]
        table = (
            [
                Table(
                    rows,
                    colWidths=(140, None),
                    style=[
                        ("VALIGN", (0, 0), (-1, -1), "TOP"),
                        ("TOPPADDING", (0, 0), (-1, -1), 0),
                    ],
                )
            ]
            if rows
            else []
        )
        flowables.append(
            KeepTogether(
                [
                    Paragraph(escape(part.heading), HEADING),
                    *table,
                    *(Paragraph(escape(text), TEXT) for text in part.texts),
                    Spacer(0, 4),
                ]
            )
        )

    def draw_symbol(canvas: Any, _document: Any) -> None:
        for box in poster.qr(code, A4[0] - MARGIN - 84, MARGIN - 10, 84):
            canvas.setFillColor(HexColor(box.color))
            canvas.rect(box.x, A4[1] - box.y - box.height, box.width, box.height, stroke=0, fill=1)
        draw_footer(canvas, _document)

    def draw_footer(canvas: Any, _document: Any) -> None:
        canvas.setFillColor(HexColor(poster.INK))
        canvas.setFont(poster.PLAIN, 9)
        canvas.drawString(MARGIN, MARGIN / 2, f"{foot} · {canvas.getPageNumber()}")

    document.build(flowables, onFirstPage=draw_symbol, onLaterPages=draw_footer)
    return file.getvalue()
