"""Forms with files (multipart/form-data), parsed in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from .errors import Problem

#: The most parts of a form, and the most bytes of a part without a file name. The parser limits the parts' headers.
MAX_PARTS, MAX_FIELD = 2000, 1 << 20


@dataclass(slots=True)
class Upload:
    """A file of a form.

    Attributes:
        field: The name of the form's field.
        name: The file's name as the client sent it; never use it as a path.
        data: The content.
    """

    field: str
    name: str
    data: bytes


@dataclass(slots=True)
class Form:
    """The fields, by name (the last of each), and the files of a form."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[Upload] = field(default_factory=list)

    def pictures(self, name: str = "image") -> list[Upload]:
        """Returns the files of a field that are not empty."""
        return [upload for upload in self.files if upload.field == name and upload.data]


def boundary_of(content_type: str) -> bytes:
    """Returns the boundary that the type of a form names.

    Raises:
        Problem: There is none, or it is too long.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= 256:
        raise Problem(400, "form", "the form has no boundary: let the client library set the header Content-Type")
    return boundary


def parse_fields(body: bytes) -> Form:
    """Returns the fields of a form without files.

    Raises:
        Problem: It is damaged, or has too many fields.
    """
    try:
        return Form(dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict")))
    except ValueError as error:
        raise Problem(400, "form", f"the form is damaged: {error}") from None


def parse_form(body: bytes, boundary: bytes) -> Form:
    """Returns the parts of a form.

    Raises:
        Problem: It is damaged, or has too many or too large parts.
    """
    reader = _Reader()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": reader.begin,
            "on_header_field": reader.header_name,
            "on_header_value": reader.header_value,
            "on_header_end": reader.header_end,
            "on_headers_finished": reader.headers_end,
            "on_part_data": reader.data,
            "on_part_end": reader.end,
            "on_end": reader.whole,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except (MultipartParseError, UnicodeDecodeError) as error:
        raise Problem(400, "form", f"the form is damaged: {error}") from None
    if not reader.complete:
        raise Problem(400, "form", "the form ends too early: send it whole")
    return reader.form


class _Reader:
    """Collects the parts of a form as the parser finds them."""

    def __init__(self) -> None:
        self.form = Form()
        self.complete = False
        self._parts = 0

    def begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Problem(413, "too_large", f"the form has more than {MAX_PARTS} parts: send fewer")
        self._pieces: list[bytes] = []
        self._size = 0
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name")
        if name is None:
            raise Problem(400, "form", "a part of the form has no name: name it as the field that it is")
        self._field = name.decode()
        file = options.get(b"filename")
        self._file = None if file is None else file.decode("utf-8", "replace")

    def data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._file is None and self._size > MAX_FIELD:
            raise Problem(413, "too_large", f"the field {self._field[:40]!r} has more than {MAX_FIELD} bytes")
        self._pieces.append(data[start:end])

    def end(self) -> None:
        content = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        if self._file is None:
            self.form.fields[self._field] = content.decode()
        else:
            self.form.files.append(Upload(self._field, self._file, content))

    def whole(self) -> None:
        self.complete = True
