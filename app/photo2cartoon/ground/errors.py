"""Every error that a caller can meet: one family, one form (`application/problem+json`, RFC 9457).

    Problem                      status  code
    ├── MalformedRequest           400   malformed_request
    ├── PhotoMissing               400   photo_missing
    ├── Unauthorized               401   unauthorized
    ├── NotFound                   404   not_found
    ├── MethodNotAllowed           405   method_not_allowed
    ├── NotAcceptable              406   not_acceptable
    ├── UploadTimeout              408   upload_timeout
    ├── BodyTooLarge               413   body_too_large
    ├── TooManyPhotos              413   too_many_photos
    ├── TooManyPixels              413   too_many_pixels
    ├── TooMuchMemory              413   too_much_memory
    ├── UnsupportedFormat          415   unsupported_format
    ├── UnsupportedCoding          415   unsupported_coding
    ├── UndecodableImage           422   undecodable_image
    ├── NoFaceFound                422   no_face
    ├── NoSuchFace                 422   no_such_face
    ├── FaceTooSmall               422   face_too_small
    ├── InvalidOption              422   invalid_option
    ├── TooManyAtOnce              429   too_many_at_once
    ├── HeadTooLarge               431   head_too_large
    ├── InternalError              500   internal_error
    ├── UnusableOutput             500   unusable_output
    ├── Overloaded                 503   overloaded
    ├── WouldBeLate                503   would_be_late
    ├── Draining                   503   draining
    └── DeadlinePassed             504   deadline_passed

An answer repeats nothing of the input. Errors outside the family are bugs: they are logged with
their trace and answered as `internal_error`.
"""

import math
from typing import Any, ClassVar


class Problem(Exception):
    """One kind of failure. `detail` is written for the caller and holds nothing of the input."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    default_detail: ClassVar[str]

    def __init__(self, detail: str | None = None, *, retry_after_s: float | None = None) -> None:
        """Describe a failure; `retry_after_s` says after how many seconds to try again."""
        self.detail = detail or self.default_detail
        self.retry_after_s = retry_after_s
        super().__init__(self.detail)

    @property
    def headers(self) -> dict[str, str]:
        """Response headers that belong to this problem."""
        if self.retry_after_s is None:
            return {}
        return {"Retry-After": str(max(1, math.ceil(self.retry_after_s)))}

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the members of the problem document: RFC 9457's, `code` and `request_id`."""
        return {
            "type": f"urn:photo2cartoon:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }


class MalformedRequest(Problem):
    status = 400
    code = "malformed_request"
    title = "Malformed request"
    default_detail = "The request body cannot be parsed."


class PhotoMissing(Problem):
    status = 400
    code = "photo_missing"
    title = "No photo in the request"
    default_detail = "Send the photo as a file of a form, as an image/* body, or as JSON."


class Unauthorized(Problem):
    status = 401
    code = "unauthorized"
    title = "No valid API key"
    default_detail = "Send your API key as 'Authorization: Bearer ...' or as 'X-API-Key: ...'."

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class NotFound(Problem):
    status = 404
    code = "not_found"
    title = "No such resource"
    default_detail = "There is nothing at this address. The service answers at /cartoonize."


class MethodNotAllowed(Problem):
    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"
    default_detail = "This address does not accept this method; see the Allow header."

    def __init__(self, allow: str | None = None) -> None:
        super().__init__()
        self.allow = allow

    @property
    def headers(self) -> dict[str, str]:
        return {"Allow": self.allow} if self.allow else {}


class NotAcceptable(Problem):
    status = 406
    code = "not_acceptable"
    title = "No acceptable format"
    default_detail = "The answer can be image/png, image/jpeg, image/webp or application/json."


class UploadTimeout(Problem):
    status = 408
    code = "upload_timeout"
    title = "Upload took too long"
    default_detail = "The request body did not arrive within the time that this service allows."

    @property
    def headers(self) -> dict[str, str]:
        return {"Connection": "close"}


class BodyTooLarge(Problem):
    status = 413
    code = "body_too_large"
    title = "Request body too large"
    default_detail = "The request body is larger than this service accepts."


class TooManyPhotos(Problem):
    status = 413
    code = "too_many_photos"
    title = "Too many photos"
    default_detail = "The request has more photos than this service takes at once."


class TooManyPixels(Problem):
    status = 413
    code = "too_many_pixels"
    title = "Too many pixels"
    default_detail = "The image has more pixels than this service accepts."


class TooMuchMemory(Problem):
    status = 413
    code = "too_much_memory"
    title = "Photo takes too much memory"
    default_detail = (
        "Drawing this photo takes more memory than this service has. Send it smaller, as a JPEG, "
        "or ask for a portrait."
    )


class UnsupportedFormat(Problem):
    status = 415
    code = "unsupported_format"
    title = "Unsupported image format"
    default_detail = "The photo must be JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF or BMP."


class UnsupportedCoding(Problem):
    status = 415
    code = "unsupported_coding"
    title = "Unsupported content coding"
    default_detail = "The body has a Content-Encoding. Send it as it is, without one."

    @property
    def headers(self) -> dict[str, str]:
        return {"Accept-Encoding": "identity"}


class UndecodableImage(Problem):
    status = 422
    code = "undecodable_image"
    title = "Image cannot be decoded"
    default_detail = "The image is damaged or incomplete."


class NoFaceFound(Problem):
    status = 422
    code = "no_face"
    title = "No face found"
    default_detail = "No face was found in the photo."


class NoSuchFace(Problem):
    status = 422
    code = "no_such_face"
    title = "No such face"
    default_detail = "The photo has fewer faces than the index asks for."


class FaceTooSmall(Problem):
    status = 422
    code = "face_too_small"
    title = "Face too small"
    default_detail = "The face is too small for a cartoon. Send a closer or a larger photo."


class InvalidOption(Problem):
    status = 422
    code = "invalid_option"
    title = "Invalid option"
    default_detail = "An option has an invalid value."


class TooManyAtOnce(Problem):
    status = 429
    code = "too_many_at_once"
    title = "Too much at once"
    default_detail = "As many requests with this API key are under way as it may have at once."


class HeadTooLarge(Problem):
    status = 431
    code = "head_too_large"
    title = "Request head too large"
    default_detail = "The request's head has more bytes or lines than this service reads."


class InternalError(Problem):
    status = 500
    code = "internal_error"
    title = "Internal error"
    default_detail = "Something went wrong here. The request id leads to the log."


class UnusableOutput(Problem):
    status = 500
    code = "unusable_output"
    title = "No usable drawing"
    default_detail = "The generator drew nothing usable of this photo, twice."


class Overloaded(Problem):
    status = 503
    code = "overloaded"
    title = "Service overloaded"
    default_detail = "The service has as much work as it can take. Try again later."


class WouldBeLate(Problem):
    status = 503
    code = "would_be_late"
    title = "The answer would come too late"
    default_detail = "The work before this photo takes longer than its deadline allows."


class Draining(Problem):
    status = 503
    code = "draining"
    title = "Service is stopping"
    default_detail = "This server takes no more work: it is about to stop. Another one may."


class DeadlinePassed(Problem):
    status = 504
    code = "deadline_passed"
    title = "Deadline passed"
    default_detail = "The photo's deadline passed before its cartoon was drawn."
