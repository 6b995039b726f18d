"""Requests and answers without a web framework: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .auth import Principal
from .catalog import Catalog
from .coding import parse_object
from .errors import Problem
from .forms import Form, boundary_of, parse_fields, parse_form

#: The media type of JSON bodies.
JSON = "application/json"

#: The media types of forms, with files and without.
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


@dataclass(slots=True)
class Answer:
    """An answer of the server.

    Attributes:
        body: The content.
        status: The HTTP status.
        media_type: The type of the content.
        headers: More headers.
        poll: For a stream of events: returns the next piece, empty if there is none yet, None at the end.
    """

    body: bytes = b""
    status: int = 200
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    poll: Callable[[], bytes | None] | None = None


@dataclass(slots=True)
class Call:
    """A request to one route.

    Attributes:
        method: The HTTP method.
        base: The path at which the server is mounted, without a slash at its end.
        path: The values of the route's path, decoded.
        query: The values after the question mark, decoded.
        headers: The headers, by names in lower case.
        principal: The key's owner and rights.
        catalog: The catalog that the path names.
        prefix: The path of the catalog's routes.
        body: The content, empty until it has been read.
        request_id: The id by which the log names the request.
        stages: How long the parts of the computation took, in seconds.
    """

    method: str
    base: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    principal: Principal
    catalog: Catalog
    prefix: str
    body: bytes = b""
    request_id: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    _form: Form | None = None

    @property
    def media_type(self) -> str:
        """The type of the body, in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_form(self) -> bool:
        """Whether the body is a form."""
        return self.media_type in FORMS

    @property
    def is_picture(self) -> bool:
        """Whether the body is a picture or a mesh."""
        return self.media_type.startswith(("image/", "model/"))

    def form(self) -> Form:
        """Returns the fields and files of a form.

        Raises:
            Problem: The body is no form, is damaged, or has too many parts.
        """
        if self._form is None:
            if not self.is_form:
                raise unsupported(self.media_type, FORMS[0])
            if self.media_type == FORMS[1]:
                self._form = parse_fields(self.body)
            else:
                self._form = parse_form(self.body, boundary_of(self.headers["content-type"]))
        return self._form

    def json(self) -> dict[str, Any]:
        """Returns the object that a JSON body holds.

        Raises:
            Problem: The body is of another type, no JSON, or no object.
        """
        if self.media_type != JSON and not self.media_type.endswith("+json"):
            raise unsupported(self.media_type, JSON)
        return parse_object(self.body, "the body")


def unsupported(media_type: str, *takes: str) -> Problem:
    """Returns the problem of a body of a type that a route does not take."""
    return Problem(
        415, "media_type", f"a body of type {media_type or 'unknown'} is not taken here: send {' or '.join(takes)}"
    )


Handler = Callable[[Any, Call], Any]
"""Called with the service and a request, and returns an :class:`Answer` or a value for JSON."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route.

    Attributes:
        method: The HTTP method.
        path: The path, with values in braces; ``{id:path}`` may have slashes.
        handler: Answers a request, with an :class:`Answer` or a value for JSON.
        needs: The right that a request needs: "read", "write", "open" for none, or "media", a signature or "read".
        lane: The requests with which it waits; None if it is answered at once.
        body: What a body may hold: "json", "pictures" (also JSON), "large" (JSON with pictures), or None.
        seed: Whether its errors have the form of ``/api/search``.
    """

    method: str
    path: str
    handler: Handler
    needs: Literal["open", "read", "write", "media"] = "read"
    lane: Literal["search", "inspect", "read", "write"] | None = "read"
    body: Literal["json", "pictures", "large"] | None = None
    seed: bool = False

    @property
    def name(self) -> str:
        """The name in metrics and logs."""
        return f"{self.method} {self.path}"
