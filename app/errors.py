"""Every error a caller can meet: one family, one answer (`application/problem+json`, RFC 9457).

    Problem                      status  code
    ├── MalformedRequest           400   malformed_request
    ├── PhotoMissing               400   photo_missing
    ├── NotFound                   404   not_found
    ├── MethodNotAllowed           405   method_not_allowed
    ├── NotAcceptable              406   not_acceptable
    ├── BodyTooLarge               413   body_too_large
    ├── TooManyPixels              413   too_many_pixels
    ├── UnsupportedFormat          415   unsupported_format
    ├── UndecodableImage           422   undecodable_image
    ├── NoFaceFound                422   no_face
    ├── NoSuchFace                 422   no_such_face
    ├── FaceTooSmall               422   face_too_small
    ├── InvalidOption              422   invalid_option
    ├── InternalError              500   internal_error
    └── Overloaded                 503   overloaded

Nothing of the input is repeated in an answer. Errors outside the family are bugs: they are logged
with their trace and answered as `internal_error`.
"""

from typing import Any, ClassVar


class Problem(Exception):
    """One kind of failure. `detail` is written for the caller and holds nothing of the input."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    default_detail: ClassVar[str]

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or self.default_detail
        super().__init__(self.detail)

    @property
    def headers(self) -> dict[str, str]:
        """Response headers that belong to this problem."""
        return {}

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the members of the problem document, `code` and `request_id` beside RFC 9457's."""
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
    default_detail = "Send the photo as multipart field 'photo' or as a raw image/* body."


class NotFound(Problem):
    status = 404
    code = "not_found"
    title = "No such resource"
    default_detail = "There is nothing at this address. The service answers at /cartoonize."


class MethodNotAllowed(Problem):
    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"
    default_detail = "This address does not answer this method; see the Allow header."

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
    default_detail = "The answer can be image/png, image/jpeg or image/webp."


class BodyTooLarge(Problem):
    status = 413
    code = "body_too_large"
    title = "Request body too large"
    default_detail = "The request body is larger than this service accepts."


class TooManyPixels(Problem):
    status = 413
    code = "too_many_pixels"
    title = "Too many pixels"
    default_detail = "The image has more pixels than this service accepts."


class UnsupportedFormat(Problem):
    status = 415
    code = "unsupported_format"
    title = "Unsupported image format"
    default_detail = "The photo must be JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF or BMP."


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


class InternalError(Problem):
    status = 500
    code = "internal_error"
    title = "Internal error"
    default_detail = "Something went wrong here. The request id leads to the log."


class Overloaded(Problem):
    status = 503
    code = "overloaded"
    title = "Service overloaded"
    default_detail = "The service has as much work as it can take. Try again later."

    def __init__(self, retry_after_s: int) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after_s)}
