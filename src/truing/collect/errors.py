"""Errors of the service: each has the HTTP status it is answered with and a short code that programs can rely on."""

from __future__ import annotations

from typing import ClassVar

from truing.errors import TruingError


class ServiceError(TruingError):
    """Something the person or program at the other end can mend."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid"


class NotSignedInError(ServiceError):
    """No session, an expired one, or a token that is unknown or revoked."""

    status = 401
    code = "not_signed_in"


class NotAllowedError(ServiceError):
    """Signed in, but not as someone who may do this."""

    status = 403
    code = "not_allowed"


class NotFoundError(ServiceError):
    """There is no such thing, or it is not this person's to see."""

    status = 404
    code = "not_found"


class ConflictError(ServiceError):
    """It cannot be done in the state that things are in."""

    status = 409
    code = "conflict"


class FrozenError(ConflictError):
    """The judgment is part of an export, so it stays as it is."""

    code = "frozen"


class TooLargeError(ServiceError):
    """More was sent than is taken at once."""

    status = 413
    code = "too_large"


class TooManyAttemptsError(ServiceError):
    """Slow down."""

    status = 429
    code = "too_many_attempts"


class StorageFullError(ServiceError):
    """The database could not write. Nothing of what was sent was kept or acknowledged."""

    status = 507
    code = "storage_full"


class InternalError(ServiceError):
    """A fault of the service. What it was stands in the log, never in the answer."""

    status = 500
    code = "internal"
    MESSAGE: ClassVar[str] = "Something went wrong here, and it was logged. Try again; what you wrote is still in your browser."
