"""The encoding of a file's text.

The encoding is shown by a byte order mark or by the bytes, or is stated by the caller. Otherwise
charset-normalizer guesses the encoding, and a person must confirm the guess.
"""

import re
from collections.abc import Sequence

from charset_normalizer import from_bytes

from chassis.errors import Invalid
from services.partners.directory.domain.imports import DecodingInfo, Encoding

_MARKS = (
    (b"\xef\xbb\xbf", Encoding.UTF_8),
    (b"\xff\xfe", Encoding.UTF_16),
    (b"\xfe\xff", Encoding.UTF_16),
)
_CODECS = {
    Encoding.UTF_8: "utf-8-sig",
    Encoding.UTF_16: "utf-16",
    Encoding.WINDOWS_1252: "cp1252",
    Encoding.MACINTOSH: "mac_roman",
    Encoding.IBM850: "cp850",
}
_ENCODINGS = {codec: encoding for encoding, codec in _CODECS.items()}
_CANDIDATE_CODECS = ("cp1252", "mac_roman", "cp850")
# Letters and signs of texts in Spanish, English and French. Letters count more than signs, because
# a byte that is a sign in one encoding may be a letter in another.
_LETTERS = frozenset("áéíóúüñÁÉÍÓÚÜÑàâçèêëîïôùûœÀÂÇÈÊËÎÏÔÙÛŒ")
_SIGNS = frozenset("¿¡ªº°–—“”‘’«»…·€")
_SAMPLE = 20_000  # maximum number of bytes that a guess uses, from lines that are not plain ASCII
_WORD = re.compile(r"[^\s;,|\"\x00-\x1f]*[^\x00-\x7f][^\s;,|\"\x00-\x1f]*")
_WORDS, _WORD_LENGTH = 8, 40  # maximum number of words shown to a person, and characters of each


def detect(texts: Sequence[bytes], encoding: Encoding | None) -> DecodingInfo:
    """Finds the encoding of the texts in one file.

    `encoding`: the encoding that the caller states, or None. Raises Invalid if no encoding fits.
    """
    for text in texts:
        for mark, encoding_name in _MARKS:
            if text.startswith(mark):
                return DecodingInfo(encoding_name)
        head = text[:200]
        if head.count(0) * 3 > len(head):
            return DecodingInfo(Encoding.UTF_16)
    if encoding is not None:
        return DecodingInfo(encoding)
    undecided_texts = [text for text in texts if not _decodes(text, "utf-8")]
    if not undecided_texts:
        return DecodingInfo(Encoding.UTF_8)
    lines = [
        line
        for text in undecided_texts
        for line in re.split(rb"[\r\n]+", text)
        if not line.isascii()
    ]
    matches = from_bytes(
        b"\n".join(lines)[:_SAMPLE], cp_isolation=list(_CANDIDATE_CODECS), enable_fallback=False
    )
    fitting_matches = [
        match
        for match in matches
        if all(_decodes(text, match.encoding) for text in undecided_texts)
    ]
    ranked_matches = sorted(
        fitting_matches,
        key=lambda match: (
            _unusual_letters_score(str(match)),
            match.chaos,
            -match.coherence,
            _CANDIDATE_CODECS.index(match.encoding),
        ),
    )
    if not ranked_matches:
        raise Invalid(("content", "malformed"))
    guess = _ENCODINGS[ranked_matches[0].encoding]
    words = dict.fromkeys(
        word[:_WORD_LENGTH]
        for text in undecided_texts
        for word in _WORD.findall(decode(text, guess))
        if re.search(r"\w", word)
    )
    return DecodingInfo(guess, guessed=True, samples=tuple(words)[:_WORDS])


def decode(text: bytes, encoding: Encoding) -> str:
    """Decodes a text. Raises ValueError if the text does not have this encoding."""
    if encoding is Encoding.UTF_16 and not text.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = text[:200]
        return text.decode("utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be")
    return text.decode(_CODECS[encoding])


def _decodes(text: bytes, codec: str) -> bool:
    try:
        text.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _unusual_letters_score(text: str) -> int:
    return sum(
        0 if letter in _LETTERS else 1 if letter in _SIGNS else 2
        for letter in text
        if not letter.isascii()
    )
