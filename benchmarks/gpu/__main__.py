"""One command a table; each ends by itself and runs on a CPU as well, at small size.

python -m benchmarks.gpu generator FULL.onnx --half HALF.onnx  by precision, option and bucket
python -m benchmarks.gpu pixels FULL.onnx HALF.onnx PHOTOS     float16 against float32, on faces
python -m benchmarks.gpu invariance PHOTOS                     one photo in other batches, places
python -m benchmarks.gpu warmup                                seconds until ready
python -m benchmarks.gpu service                               photos/s: in process, over HTTP
python -m benchmarks.gpu host                                  ms of the CPU around the networks
"""

import typer

from benchmarks.gpu.generator import generator
from benchmarks.gpu.host import host
from benchmarks.gpu.pixels import invariance, pixels
from benchmarks.gpu.service import service
from benchmarks.gpu.warmup import warmup

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(generator)
app.command()(pixels)
app.command()(invariance)
app.command()(warmup)
app.command()(service)
app.command()(host)

if __name__ == "__main__":
    app()
