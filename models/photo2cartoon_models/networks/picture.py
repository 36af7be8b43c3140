"""Picture: any generator as a network of one answer."""

from torch import Tensor, nn


class Picture(nn.Module):
    """A generator whose only answer is the picture."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, photo: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, 3, S, S), -1..1 both."""
        answer = self.generator(photo)  # a picture, or a tuple that begins with it
        picture: Tensor = answer if isinstance(answer, Tensor) else answer[0]
        return picture
